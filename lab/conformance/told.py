"""A play about what vCenter tells, and in which order."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

from lab.client import Lab
from lab.conformance.bench import Bench, expect_refusal, holds
from lab.conformance.standard import HOSTS, PASS_S
from lab.conformance.trusted import ATTESTERS, KEY_SERVICES, LAB
from lab.schema import commands as c
from lab.schema.answers import LoggedEvent, Vm
from protocol.events import EventTypeId as Id

KMS, VCENTER = "kms", "vcenter"
LOCKS = frozenset(id for id in Id if ".VMLocked." in id)
Step = Collection[Id]
"""One event of an order: any of these."""


async def in_order(bench: Bench) -> str:
    """A22: what is told comes after its cause, and only of whom it is about."""
    seen = [
        await _server_lost_and_back(bench),
        await _key_destroyed(bench),
        await _with_stored_keys(bench),
        await _authority_lost(bench),
        await _tell_backup(bench),
    ]
    return "; ".join(seen)


async def _server_lost_and_back(bench: Bench) -> str:
    async with bench.lab() as lab:
        vms = await _of_host(lab)
        after = await _last(lab)
        lost = await lab.cut(VCENTER, KMS)
        await lab.sleep(PASS_S)
        await lab.power_loss(HOSTS[0])
        await lab.sleep(PASS_S)
        told = await lab.events(after)
        for vm in vms:
            steps = (Id.KMS_UNREACHABLE, Id.HOST_REQ_ENABLE_KMS_CLUSTER_ERROR)
            wanted = (*steps, Id.VM_LOCKED_KMS_CLUSTER_ERROR)
            _check_order(
                told, [{one} for one in wanted], vm, "its key server lost, its host rebooted"
            )
        after = await _last(lab)
        await lab.heal(lost)
        await lab.sleep(3 * PASS_S)
        told = await lab.events(after)
        for vm in vms:
            back: list[Step] = [{Id.HOST_CRYPTO_ENABLED}, {Id.VM_UNLOCKED}]
            _check_order(told, back, vm, "its key server back")
    return "a key server lost and back"


async def _key_destroyed(bench: Bench) -> str:
    async with bench.lab() as lab:
        (vm,) = await _of_host(lab)
        after = await _last(lab)
        await lab.do(c.KmsKeyDestroy(str(vm.key)))
        await lab.power_loss(*HOSTS)
        await lab.sleep(PASS_S)
        told = await lab.events(after)
        when = "its key destroyed, its host rebooted"
        _check_order(told, [{Id.HOST_CRYPTO_ENABLED}, {Id.VM_LOCKED_KEY_MISSING_ON_KMS}], vm, when)
        others = [one.vm for one in told if one.event in LOCKS and one.vm != vm.vm]
        holds(not others, f"{', '.join(map(str, others))}: told as locked by a key of {vm.vm}")
    return "a key destroyed"


async def _with_stored_keys(bench: Bench) -> str:
    async with bench.lab(key_persistence=True) as lab:
        await lab.sleep(PASS_S)
        (vm,) = await _of_host(lab)
        after = await _last(lab)
        await lab.cut(VCENTER, KMS)
        await lab.sleep(PASS_S)
        await lab.do(c.HostReboot(HOSTS[:1]))
        await lab.sleep(PASS_S)
        told = await lab.events(after)
        _check_order(told, [{Id.KMS_UNREACHABLE}], vm, "its key server lost")
        of_it = [
            one.event.value
            for one in told
            if one.vm == vm.vm or "ReqEnable" in one.event or one.event in LOCKS
        ]
        holds(not of_it, f"stored keys, its key server lost: told of {', '.join(of_it)}")
    return "the same with stored keys"


async def _authority_lost(bench: Bench) -> str:
    async with bench.lab(LAB) as lab:
        (vm,) = await _of_host(lab)
        after = await _last(lab)
        await lab.do(c.HostPowerOff((*ATTESTERS, *KEY_SERVICES)))
        await lab.sleep(PASS_S)
        await lab.power_loss(*HOSTS)  # no host is served any more
        await lab.sleep(2 * PASS_S)
        wanted: list[Step] = [
            {Id.KMS_TA_CLUSTER_NOT_AVAILABLE},
            {Id.TA_HOST_ATTEST_UNSET, Id.TA_HOST_ATTEST_FAIL},
            {Id.VM_LOCKED_TA_KMS_CLUSTER_UNAVAILABLE},
        ]
        _check_order(
            await lab.events(after), wanted, vm, "its Trust Authority lost, its host rebooted"
        )
    return "a Trust Authority lost"


async def _tell_backup(bench: Bench) -> str:
    async with bench.lab("native", vms=0) as lab:
        after = await _last(lab)
        await lab.do(c.ProviderCreate("second"))
        create = c.VmCreate("late", host=HOSTS[0], encrypted=True, provider="second")
        await expect_refusal(lab, create, "second", "a VM under a provider that is not backed up")
        before = [one.event for one in await lab.events(after) if one.provider == "second"]
        holds(before == [Id.KMS_NOT_BACKED_UP], f"not backed up: told of {before}")
        with tempfile.TemporaryDirectory() as folder:
            await lab.do(c.ProviderExport("second", str(Path(folder) / "second.p12")))
        told = [one.event for one in await lab.events(after) if one.provider == "second"]
        wanted = [Id.KMS_NOT_BACKED_UP, Id.KMS_ALL_BACKED_UP]
        holds(told == wanted, f"backed up: told of {', '.join(told)}")
    return "a native provider backed up"


def _check_order(told: Sequence[LoggedEvent], wanted: Sequence[Step], vm: Vm, when: str) -> None:
    """Each step was told, after the one before it: of this VM, of its host, or of neither."""
    about = [one for one in told if one.vm in (None, vm.vm) and one.host in (None, vm.host)]
    at = 0
    for step in wanted:
        found = next((n for n, one in enumerate(about) if n >= at and one.event in step), None)
        names = " or ".join(id.rpartition(".vc.")[2] for id in sorted(step))
        if found is None:
            early = any(one.event in step for one in about)
            how = "is told too early" if early else "is not told"
            holds(False, f"{vm.vm}, {when}: {names} {how}")
            return
        at = found + 1


async def _of_host(lab: Lab) -> list[Vm]:
    """The VMs of the host that is rebooted."""
    return [vm for vm in await lab.vms() if str(vm.host) == HOSTS[0]]


async def _last(lab: Lab) -> int:
    """The number of the last event."""
    return max((one.sequence for one in await lab.events()), default=0)
