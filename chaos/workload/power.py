"""The power of VMs: off and on, one after the other and back to back."""

from __future__ import annotations

from typing import Final

from chaos.observe.look import LabLook
from chaos.workload.base import WITHIN_S, Arrival, Means, OperationOutcome, WorkloadOperation
from protocol.errors import ProductError
from protocol.messages.vcenter import CryptoUnlock, PowerOffVm, PowerOnVm, VmPowered
from protocol.terms import PowerState, VmName
from services.runtime.each import try_each

PAIR_GAP_S: Final = 0.001
"""Lab seconds: enough that the first is accepted first, and is not done yet."""


async def _power_cycle(means: Means, arrival: Arrival) -> OperationOutcome:
    vm = VmName(arrival.target)
    vcenter = await means.vcenter(vm)
    await means.lab.ask(vcenter, PowerOffVm(vm=vm), within_s=WITHIN_S)
    try:
        await means.lab.ask(vcenter, PowerOnVm(vm=vm), within_s=WITHIN_S)
    except ProductError as error:
        # The first half had its effect, so this is no clean failure.
        return OperationOutcome("info", {"off": True, "error": type(error).__name__})
    return OperationOutcome("ok", {})


async def _off_on(means: Means, arrival: Arrival) -> OperationOutcome:
    """Both commands are accepted before the first is done: the second one has the last word."""
    vm = VmName(arrival.target)
    vcenter = await means.vcenter(vm)

    async def give(place: int) -> VmPowered:
        await means.lab.sleep(place * PAIR_GAP_S)
        command = PowerOnVm(vm=vm) if place else PowerOffVm(vm=vm)
        return await means.lab.ask(vcenter, command, within_s=WITHIN_S)

    ends = await try_each(range(2), give, name="pair")
    errors = [end for end in ends if isinstance(end, ProductError)]
    powered = [end for end in ends if isinstance(end, VmPowered)]
    if errors:
        neither = len(errors) == 2 and all(error.definite for error in errors)
        return OperationOutcome("fail" if neither else "info", {"error": type(errors[0]).__name__})
    seen = await LabLook(means.lab).vm(vm, powered[-1].vm.host)
    if seen is None:
        return OperationOutcome("info", {"error": "no host answers for it"})
    return OperationOutcome("ok", {"wanted": PowerState.ON.value, "left": seen[1].power.value})


async def _unlock(means: Means, arrival: Arrival) -> OperationOutcome:
    """CryptoUnlock_Task, whether the VM is locked or not (LOCK-05)."""
    vm = VmName(arrival.target)
    await means.lab.ask(await means.vcenter(vm), CryptoUnlock(vm=vm), within_s=WITHIN_S)
    return OperationOutcome("ok", {})


OPERATIONS: Final = (
    WorkloadOperation(
        "vm.power_cycle", "vms", "power a VM off and on through vCenter", _power_cycle
    ),
    WorkloadOperation("vm.off_on", "vms", "power a VM off and on, sent back to back", _off_on),
    WorkloadOperation("vm.unlock", "vms", "have vCenter bring the keys of a VM", _unlock),
)
