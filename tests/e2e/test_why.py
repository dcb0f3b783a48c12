"""What ``describe`` says of VMs that came back, and of VMs that did not, by kind of provider."""

from __future__ import annotations

import pytest

from lab.client import Lab
from lab.schema import commands as c
from protocol.terms import ManagementType
from protocol.trust import TrustItem

HOST, VM = "esxi-001", "vm-01"
ENABLE = "system security keypersistence enable"


async def rules(lab: Lab, vm: str = VM) -> list[str]:
    return [reason.rule for reason in (await lab.do(c.DescribeVm(vm))).reasons]


async def of_host(lab: Lab) -> list[str]:
    return [reason.rule for reason in (await lab.do(c.DescribeHost(HOST))).reasons]


@pytest.mark.parametrize("persistence", [False, True])
async def test_a_vm_that_came_back_says_whence_its_key_came(persistence: bool) -> None:
    async with Lab("sim", seed=7, hosts=2, vms=2, key_persistence=persistence) as lab:
        await lab.sleep(10)  # each host has the keys of all VMs by then (STD-12)
        before = (await lab.do(c.DescribeHost(HOST))).keys
        assert before and not any(key.loaded for key in before)
        assert "STD-14" not in await rules(lab)
        await lab.power_loss(HOST)
        await lab.sleep(120)
        if not persistence:
            await lab.do(c.VmOn((VM,)))
        assert (await rules(lab))[:2] == ["LOCK-04", "KP-07" if persistence else "STD-14"]
        after = (await lab.do(c.DescribeHost(HOST))).keys
        assert {key.loaded for key in after} == {persistence}


async def test_without_vcenter_a_native_vm_is_not_told_to_want_a_key_server() -> None:
    async with Lab("sim", topology="native", seed=7, hosts=2, vms=2, tpm="model") as lab:
        await lab.do(c.HostPowerLoss(("vcenter",), stay_off=True))
        await lab.power_loss(HOST)
        await lab.sleep(60)
        assert await rules(lab) == ["LOCK-04", "NKP-11", "R7"]
        assert (await lab.do(c.DescribeVm(VM))).keys[0].kind is ManagementType.NATIVE_PROVIDER


async def test_a_native_provider_that_was_deleted_is_imported_and_not_healed() -> None:
    async with Lab("sim", topology="native", seed=7, hosts=2, vms=2, tpm="model") as lab:
        await lab.do(c.ProviderDelete("nkp"))
        await lab.sleep(10)
        assert await rules(lab) == ["LOCK-04", "NKP-17"]
        await lab.power_loss(HOST)
        await lab.sleep(120)
        assert await rules(lab) == ["NKP-17"]
        assert await of_host(lab) == ["B5", "NKP-17"]


async def test_a_host_that_is_not_attested_is_the_reason_and_no_key_server() -> None:
    async with Lab("sim", topology="trusted", seed=7, hosts=2, vms=2, tpm="model") as lab:
        assert await rules(lab) == ["LOCK-04", "KPS-02"]
        items = (await lab.do(c.GetTrustAuthority())).items
        [image] = [item.name for item in items if item.kind == TrustItem.BASE_IMAGE]
        await lab.do(c.TrustRemove(TrustItem.BASE_IMAGE, image))
        await lab.power_loss(HOST)
        await lab.sleep(120)
        assert await rules(lab) == ["STD-13", "ATT-03"]
        assert "imported base image" in (await lab.do(c.DescribeVm(VM))).reasons[1].why
        assert (await of_host(lab))[0] == "ATT-02"


async def test_a_vm_of_a_vcenter_that_is_down_is_told_of_that_one() -> None:
    async with Lab("sim", topology="two-vcenters", seed=7, tpm="model") as lab:
        await lab.do(c.FaultInject("vcenter.down", {"on": "vcenter-b"}))
        described = await lab.do(c.DescribeVm("vm-05"))
        assert described.host == "esxi-003"
        assert described.reasons[-1].cure == "keystead heal --all"
        other = await lab.do(c.DescribeVm(VM))
        assert "R7" not in [reason.rule for reason in other.reasons]


async def test_a_disk_group_that_is_not_mounted_is_told_with_what_mounts_it() -> None:
    """VSAN-04: the host runs, and looks well to who does not ask for its vSAN."""
    async with Lab("sim", topology="vsan", seed=7, tpm="model") as lab:
        assert "VSAN-04" not in await of_host(lab)
        await lab.fault("link.cut", between=["role:esxi", "kms"])
        await lab.power_loss(HOST)
        await lab.sleep(120)
        reasons = (await lab.do(c.DescribeHost(HOST))).reasons
        told = [reason for reason in reasons if reason.rule == "VSAN-04"]
        assert len(told) == 2 and "group-1" in told[0].why and "group-2" in told[1].why
        assert "cannot be had" in told[0].why and f"keystead vsan mount {HOST}" in told[0].cure
        await lab.heal()
        await lab.do(c.VsanMount(HOST))
        assert "VSAN-04" not in await of_host(lab)


async def test_keys_lost_between_two_hourly_saves_are_not_said_to_have_never_come() -> None:
    """SC-22: persistence was enabled, and the power went before the next save (DUR-02)."""
    knobs = {"config_save": "hourly"}
    async with Lab("sim", seed=7, hosts=1, vms=1, key_persistence=False, knobs=knobs) as lab:
        await lab.esx(HOST, ENABLE)
        await lab.do(c.HostPowerLoss(("vcenter",), stay_off=True))
        await lab.power_loss(HOST)
        await lab.sleep(60)
        assert await rules(lab) == ["DUR-02", "R7"]
        described = await lab.do(c.DescribeHost(HOST))
        assert described.machine.ended_before == "power_loss"


async def test_a_host_without_tpm_does_not_claim_that_one_seals_its_keys() -> None:
    """KP-06: persistence came on with native providers alone, and a standard one was added."""
    async with Lab("sim", topology="native", seed=7, hosts=1, vms=1, tpm="none") as lab:
        await lab.esx(HOST, ENABLE)
        described = await lab.do(c.DescribeHost(HOST))
        assert [r.rule for r in described.reasons] == ["HEM-01", "KP-06", "NKP-11"]
        assert described.reasons[1].cure == "add a TPM"
