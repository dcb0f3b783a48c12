"""What commands make of names: selectors, each once; wrong words are usage errors, not defects."""

from __future__ import annotations

import pytest

from lab.client import Lab
from lab.schema import commands as c
from lab.schema.errors import KeysteadError
from protocol.terms import PowerState, VmCryptoState

pytestmark = pytest.mark.sim


async def test_selectors_name_hosts_and_vms_each_once() -> None:
    async with Lab(hosts=3, vms=3, seed=5) as lab:

        async def paused(*hosts: str) -> list[str]:
            return [row.host for row in (await lab.do(c.HostResume(hosts))).items]

        assert await paused("esxi-[001-002]", "esxi-002") == ["esxi-001", "esxi-002"]
        assert await paused("role:kms", "cluster:cluster-a") == [
            "kms",
            "esxi-001",
            "esxi-002",
            "esxi-003",
        ]
        assert len(await paused("1 of role:esxi")) == 1
        off = await lab.vm_off("vm-[01-02]", "vm-01")
        assert [row.vm for row in off] == ["vm-01", "vm-02"]
        assert [row.vm for row in await lab.vm_on("all")] == ["vm-01", "vm-02", "vm-03"]


async def test_a_vm_whose_name_looks_like_a_selector_is_itself() -> None:
    async with Lab(hosts=1, vms=0, seed=5) as lab:
        await lab.do(c.VmCreate("my vm: 50%"))
        assert [row.power for row in await lab.vm_on("my vm: 50%")] == [PowerState.ON]


async def test_a_reboot_returns_when_vcenter_has_seen_it() -> None:
    async with Lab(hosts=1, vms=1, seed=5) as lab:
        await lab.cut("vcenter", "kms")
        await lab.reboot("esxi-001")
        assert (await lab.host("esxi-001")).boot == 2
        seen = await lab.vm("vm-01")
        assert (seen.power, seen.crypto) == (PowerState.OFF, VmCryptoState.LOCKED)


async def test_a_reboot_behind_a_cut_link_does_not_wait_for_vcenter() -> None:
    async with Lab(hosts=1, vms=1, seed=5) as lab:
        await lab.cut("vcenter", "esxi-001")
        before = (await lab.do(c.GetStatus())).lab_time
        await lab.reboot("esxi-001")
        assert (await lab.do(c.GetStatus())).lab_time - before < 120


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "id"),
    [
        (c.HostReboot(("esxi-[001-009]",)), "KS-USE-002"),
        (c.HostReboot(("esxi-[9-1]",)), "KS-USE-003"),
        (c.HostPause(("role:kmip",)), "KS-USE-002"),
        (c.VmOn(("vm-[01-09]",)), "KS-USE-002"),
        (c.VmUnlock("vm-1"), "KS-USE-002"),
        (c.FaultInject("link.cat"), "KS-USE-002"),
        (c.FaultInject("link.cut"), "KS-USE-003"),
        (c.FaultInject("proc.kill", {"on": "nobody"}), "KS-USE-002"),
        (c.LinkCut("vcenter", "nobody"), "KS-USE-002"),
        (c.Heal(("nothing",)), "KS-USE-002"),
        (c.DescribeVm("vm-99"), "KS-USE-002"),
        (c.GetAudit("vm-99"), "KS-USE-002"),
    ],
)
async def test_wrong_words_are_usage_errors(command: c.Command[object], id: str) -> None:
    async with Lab(hosts=1, vms=1, seed=5) as lab:
        with pytest.raises(KeysteadError) as raised:
            await lab.do(command)
        assert (raised.value.id, raised.value.exit_code) == (id, 64)


async def test_one_of_two_key_servers_has_to_be_named() -> None:
    async with Lab(hosts=1, vms=0, kms=2, seed=5) as lab:
        with pytest.raises(KeysteadError, match="name a key server") as raised:
            await lab.do(c.GetAudit())
        assert raised.value.id == "KS-USE-003"
