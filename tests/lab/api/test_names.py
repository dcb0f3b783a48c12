"""What verbs make of names: selectors, each once; wrong words are usage errors, not defects."""

from __future__ import annotations

from typing import Any

import pytest

from lab.client import Lab
from lab.errors import KeysteadError

pytestmark = pytest.mark.sim


async def test_selectors_name_hosts_and_vms_each_once() -> None:
    async with Lab(hosts=3, vms=3, seed=5) as lab:

        async def paused(*hosts: str) -> list[str]:
            rows = (await lab.do("host.resume", hosts=list(hosts)))["items"]
            return [row["host"] for row in rows]

        assert await paused("esxi-[001-002]", "esxi-002") == ["esxi-001", "esxi-002"]
        assert await paused("role:kms", "cluster:cluster-a") == [
            "kms",
            "esxi-001",
            "esxi-002",
            "esxi-003",
        ]
        assert len(await paused("1 of role:esxi")) == 1
        off = await lab.vm_off("vm-[01-02]", "vm-01")
        assert [row["vm"] for row in off] == ["vm-01", "vm-02"]
        assert [row["vm"] for row in await lab.vm_on("all")] == ["vm-01", "vm-02", "vm-03"]


async def test_a_vm_whose_name_looks_like_a_selector_is_itself() -> None:
    async with Lab(hosts=1, vms=0, seed=5) as lab:
        await lab.do("vm.create", vm="my vm: 50%")
        assert [row["power"] for row in await lab.vm_on("my vm: 50%")] == ["poweredOn"]


async def test_a_reboot_returns_when_vcenter_has_seen_it() -> None:
    async with Lab(hosts=1, vms=1, seed=5) as lab:
        await lab.cut("vcenter", "kms")
        await lab.reboot("esxi-001")
        assert (await lab.host("esxi-001"))["boot"] == 2
        seen = await lab.vm("vm-01")
        assert (seen["power"], seen["crypto"]) == ("poweredOff", "locked")


async def test_a_reboot_behind_a_cut_link_does_not_wait_for_vcenter() -> None:
    async with Lab(hosts=1, vms=1, seed=5) as lab:
        await lab.cut("vcenter", "esxi-001")
        before = (await lab.do("status"))["lab_time"]
        await lab.reboot("esxi-001")
        assert (await lab.do("status"))["lab_time"] - before < 120


@pytest.mark.parametrize(
    ("verb", "arguments", "id"),
    [
        ("host.reboot", {"hosts": ["esxi-[001-009]"]}, "KS-USE-002"),
        ("host.reboot", {"hosts": ["esxi-[9-1]"]}, "KS-USE-003"),
        ("host.pause", {"hosts": ["role:kmip"]}, "KS-USE-002"),
        ("vm.on", {"vms": ["vm-[01-09]"]}, "KS-USE-002"),
        ("vm.on", {}, "KS-USE-003"),
        ("fault.inject", {"kind": "link.cat", "values": {}}, "KS-USE-002"),
        ("fault.inject", {"kind": "link.cut", "values": {}}, "KS-USE-003"),
        ("fault.inject", {"kind": "proc.kill", "values": {"on": "nobody"}}, "KS-USE-002"),
        ("heal", {"ids": ["nothing"]}, "KS-USE-002"),
        ("heal", {}, "KS-USE-003"),
        ("describe.vm", {"name": "vm-99"}, "KS-USE-002"),
    ],
)
async def test_wrong_words_are_usage_errors(verb: str, arguments: dict[str, Any], id: str) -> None:
    async with Lab(hosts=1, vms=1, seed=5) as lab:
        with pytest.raises(KeysteadError) as raised:
            await lab.do(verb, **arguments)
        assert (raised.value.id, raised.value.exit_code) == (id, 64)
