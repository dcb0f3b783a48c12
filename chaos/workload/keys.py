"""Keys: made, used by new VMs and in the place of others, and given up with them."""

from __future__ import annotations

from typing import Final

from chaos.draws import Draws
from chaos.observe.look import LabLook
from chaos.workload.base import WITHIN_S, Arrival, Means, OperationOutcome, WorkloadOperation
from protocol.errors import ProductError
from protocol.messages.vcenter import (
    CreateVm,
    DestroyVm,
    EncryptVm,
    GenerateKey,
    PowerOffVm,
    PowerOnVm,
    RecryptVm,
)
from protocol.terms import VmName


async def _key_create(means: Means, arrival: Arrival) -> OperationOutcome:
    message = GenerateKey(operation_id=means.operation_id(arrival))
    made = await means.lab.ask(await means.vcenter(), message, within_s=WITHIN_S)
    if made.success and made.key is not None:
        return OperationOutcome(
            "ok", {"key": str(made.key.key_id), "provider": str(made.key.provider_id)}
        )
    # vCenter's answer does not say whether the key server had made the key already.
    return OperationOutcome("info", {"error": made.reason})


async def _vm_encrypt(means: Means, arrival: Arrival) -> OperationOutcome:
    """A new VM beside ``target``'s, encrypted under a new key of the default provider."""
    name = VmName(means.operation_id(arrival))
    cluster = await means.cluster_of(VmName(arrival.target))
    vcenter = await means.vcenter(cluster)
    operation_id = means.operation_id(arrival)
    made = CreateVm(operation_id=f"{operation_id}-vm", vm=name, cluster=cluster)
    await means.lab.ask(vcenter, made, within_s=WITHIN_S)
    try:
        message = EncryptVm(operation_id=operation_id, vm=name)
        done = await means.lab.ask(vcenter, message, within_s=WITHIN_S)
    except ProductError as error:
        return OperationOutcome("info", {"vm": str(name), "error": type(error).__name__})
    key = done.key
    data = {"vm": str(name), "key": str(key.key_id), "provider": str(key.provider_id)}
    return OperationOutcome("ok", data)


async def _come_and_go(means: Means, arrival: Arrival) -> OperationOutcome:
    """A new VM beside ``target``'s, encrypted, and destroyed as soon as that is answered: its key
    is on its way to the other hosts of the cluster while it has to leave them."""
    operation_id = means.operation_id(arrival)
    name = VmName(operation_id)
    cluster = await means.cluster_of(VmName(arrival.target))
    vcenter = await means.vcenter(cluster)
    made = CreateVm(operation_id=f"{operation_id}-vm", vm=name, cluster=cluster, encrypted=True)
    created = False
    try:
        answer = await means.lab.ask(vcenter, made, within_s=WITHIN_S)
        created = True
        await means.lab.ask(vcenter, DestroyVm(vm=name), within_s=WITHIN_S)
    except ProductError as error:
        kind = "fail" if error.definite and not created else "info"
        return OperationOutcome(kind, {"made": str(name), "error": type(error).__name__})
    gone = {} if answer.vm.key is None else {"gone": str(answer.vm.key.key_id)}
    return OperationOutcome("ok", {"made": str(name), **gone})


async def _recrypt(means: Means, arrival: Arrival) -> OperationOutcome:
    """Shallow: the VM goes on, under a new key of one of the providers that vCenter lists."""
    return await _recrypt_vm(means, arrival, deep=False)


async def _recrypt_deep(means: Means, arrival: Arrival) -> OperationOutcome:
    """Off, recrypted with new data keys, and on."""
    vm = VmName(arrival.target)
    vcenter = await means.vcenter(vm)
    await means.lab.ask(vcenter, PowerOffVm(vm=vm), within_s=WITHIN_S)
    try:
        done = await _recrypt_vm(means, arrival, deep=True)
        await means.lab.ask(vcenter, PowerOnVm(vm=vm), within_s=WITHIN_S)
    except ProductError as error:
        return OperationOutcome("info", {"off": True, "error": type(error).__name__})
    return done


async def _recrypt_vm(means: Means, arrival: Arrival, *, deep: bool) -> OperationOutcome:
    vcenter = await means.vcenter(arrival.target)
    seen = await LabLook(means.lab).providers()
    drawn = Draws(arrival.number, f"recrypt/{arrival.target}")
    message = RecryptVm(
        operation_id=means.operation_id(arrival),
        vm=VmName(arrival.target),
        provider=seen[drawn.below(len(seen))].provider if seen else None,
        deep=deep,
    )
    key = (await means.lab.ask(vcenter, message, within_s=WITHIN_S)).key
    return OperationOutcome("ok", {"key": str(key.key_id), "provider": str(key.provider_id)})


OPERATIONS: Final = (
    WorkloadOperation("key.create", "", "create a key of the default provider", _key_create),
    WorkloadOperation("vm.encrypt", "vms", "create a VM and encrypt it", _vm_encrypt),
    WorkloadOperation(
        "vm.come_and_go",
        "vms",
        "create an encrypted VM and destroy it at once, so that its key comes and goes",
        _come_and_go,
    ),
    WorkloadOperation(
        "vm.recrypt",
        "vms",
        "put a VM under a new key of any provider, while it runs",
        _recrypt,
    ),
    WorkloadOperation(
        "vm.recrypt_deep",
        "vms",
        "power a VM off, rewrite its data under new keys, power it on",
        _recrypt_deep,
    ),
)
