"""A VM of an operation's own: made, taken through drawn tasks, and destroyed.

A model says what each task must lead to and what must be refused. A VM that is not as its answers
say is told (``wrong``); one that is in another state of power is not, for its host may have gone
down (``info``). Such VMs are not written down when a run looks at its lab (``OWN``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from chaos.draws import Draws
from chaos.observe.look import OWN, all_vms, leaders
from chaos.workload.base import Arrival, Means, OperationOutcome, WorkloadOperation
from chaos.workload.life import Drifted, VmLife, VmShape, Wrong
from chaos.workload.operations import hosts_of_vcenter, other_hosts
from protocol.errors import (
    AlreadyExists,
    InvalidPowerState,
    InvalidState,
    NotFound,
    ProductError,
)
from protocol.events import EventTypeId
from protocol.messages.host.vms import TpmProvisionPolicy
from protocol.messages.vcenter import vms as vm_messages
from protocol.terms import MigrateEncryption, NodeName, VmName

STEPS: Final = 6
"""Tasks of one life, beside its begin and its end."""


# ---- tasks ---------------------------------------------------------------------------------------


async def _power_on(life: VmLife) -> None:
    await life.do(vm_messages.PowerOnVm(vm=life.vm), replace(life.shape, on=True))


async def _power_off(life: VmLife) -> None:
    await life.do(vm_messages.PowerOffVm(vm=life.vm), replace(life.shape, on=False))


async def _add_disk(life: VmLife) -> None:
    own = life.shape.encrypted and life.draws.unit() < 0.5
    number = max(life.shape.disks) + 1
    message = vm_messages.AddDisk(operation_id=life.next_id(), vm=life.vm, own_key=own)
    shape = replace(life.shape, disks=(*life.shape.disks, number))
    done = await life.do(message, shape)
    keys = {disk.key for disk in done.disks} | {done.vm.key}
    if own:
        [key] = [disk.key for disk in done.disks if disk.disk == done.disk]
        life.expect(EventTypeId.CRYPTO_OPERATION, key)
    if len(keys) > 1:
        life.expect(EventTypeId.VM_DISKCHAIN_USING_MIXED_KEYS, *keys)
    if done.disk != number:
        raise Wrong(f"the disk is {done.disk}, and must be {number}")


async def _remove_disk(life: VmLife) -> None:
    number = life.shape.disks[-1]
    rest = tuple(disk for disk in life.shape.disks if disk != number)
    for _ in range(2):  # the second one is no change
        await life.do(
            vm_messages.RemoveDisk(vm=life.vm, disk=number), replace(life.shape, disks=rest)
        )


async def _add_vtpm(life: VmLife) -> None:
    message = vm_messages.AddVtpm(operation_id=life.next_id(), vm=life.vm)
    clear = not life.shape.encrypted
    done = await life.do(message, replace(life.shape, vtpm=True))
    if clear:
        life.expect(EventTypeId.CRYPTO_OPERATION, done.vm.key)
    life.expect(EventTypeId.VM_RECONFIGURED)


async def _remove_vtpm(life: VmLife) -> None:
    await life.do(vm_messages.RemoveVtpm(vm=life.vm), replace(life.shape, vtpm=False))
    life.guests.vtpms.forget(life.vm)
    life.expect(EventTypeId.VM_RECONFIGURED)


async def _encrypt(life: VmLife) -> None:
    message = vm_messages.EncryptVm(operation_id=life.next_id(), vm=life.vm)
    done = await life.do(message, replace(life.shape, encrypted=True))
    life.expect(EventTypeId.CRYPTO_OPERATION, done.key)


async def _decrypt(life: VmLife) -> None:
    await life.do(vm_messages.DecryptVm(vm=life.vm), replace(life.shape, encrypted=False))
    life.expect(EventTypeId.CRYPTO_OPERATION)


async def _recrypt(life: VmLife, *, deep: bool = False) -> None:
    message = vm_messages.RecryptVm(operation_id=life.next_id(), vm=life.vm, deep=deep)
    done = await life.do(message, life.shape)
    life.expect(EventTypeId.CRYPTO_OPERATION, done.key)
    if done.key in done.old or not done.old:
        raise Wrong(f"it was under {len(done.old)} keys before, and is under one of them still")
    if done.vm.key != done.key:
        raise Wrong("vCenter shows another key than the task has answered")


async def _recrypt_deep(life: VmLife) -> None:
    await _recrypt(life, deep=True)


async def _snapshot(life: VmLife) -> None:
    name = f"at-{life.next_id()}"
    before, life.kept = life.kept, {**life.kept, name: life.shape}
    try:
        await life.do(
            vm_messages.CreateSnapshot(vm=life.vm, snapshot=name, memory=life.shape.on), life.shape
        )
    except ProductError:
        life.kept = before
        raise
    life.guests.record_snapshot(life.vm, name)


async def _revert(life: VmLife) -> None:
    name = list(life.kept)[-1]
    await life.do(vm_messages.RevertToSnapshot(vm=life.vm, snapshot=name), life.kept[name])
    life.guests.went_back(life.vm, name)


async def _remove_snapshot(life: VmLife) -> None:
    name = next(iter(life.kept))
    left = {other: shape for other, shape in life.kept.items() if other != name}
    answer = await life.ask(vm_messages.RemoveSnapshot(vm=life.vm, snapshot=name))
    life.kept = left
    life.hold(answer.vm, "RemoveSnapshot")


async def _clone(life: VmLife) -> None:
    """Looked at, started, and destroyed again."""
    name = life.clone_name
    policies = (None, TpmProvisionPolicy.COPY, TpmProvisionPolicy.REPLACE)
    policy = policies[life.draws.below(3)] if life.shape.vtpm else None
    recrypt = life.shape.encrypted and life.draws.unit() < 0.5
    message = vm_messages.CloneVm(
        operation_id=life.next_id(), vm=name, source=life.vm, recrypt=recrypt, tpm=policy
    )
    shape = replace(life.shape, on=False)
    clone = replace(life, vm=name, shape=shape, kept={})
    clone.guests = life.guests
    made = (await clone.do(message, shape)).vm
    life.guests.record_clone(life.vm, name)
    await clone.look("CloneVm")
    source = await life.config()
    copy = await clone.config()
    keys = {disk.key for disk in copy.disks} | {made.key}
    life.expect(EventTypeId.VM_CLONED, *keys, vm=name)
    if life.shape.vtpm and policy is not None:
        same = source.ek == copy.ek
        if same is not (policy is TpmProvisionPolicy.COPY):
            raise Wrong(f"with policy {policy.value} the clone has the same virtual TPM: {same}")
    before = {disk.key for disk in source.disks}
    if recrypt and (before & {disk.key for disk in copy.disks} or made.key in before):
        raise Wrong("the clone is under a key of its source, and was to be recrypted")
    await clone.do(vm_messages.PowerOnVm(vm=name), replace(shape, on=True))
    await clone.look("PowerOnVm of the clone")
    await clone.do(vm_messages.PowerOffVm(vm=name), shape)
    await life.ask(vm_messages.DestroyVm(vm=name))
    life.guests.forget(name)


async def _template(life: VmLife) -> None:
    marked = (await life.ask(vm_messages.MarkAsTemplate(vm=life.vm))).vm
    if marked.template is not True:
        raise Wrong("it was marked as a template, and is none")
    await life.refused(vm_messages.PowerOnVm(vm=life.vm), InvalidState)
    marked = (await life.ask(vm_messages.MarkAsVirtualMachine(vm=life.vm))).vm
    if marked.template is True:
        raise Wrong("it was marked as a virtual machine, and is a template")


async def _migrate(life: VmLife) -> None:
    info = await life.listed()
    if info is None:
        raise NotFound(f"vCenter has no {life.vm}")
    hosts = await other_hosts(life.means.lab, info)
    host = hosts[life.draws.below(len(hosts))]
    done = await life.do(vm_messages.MigrateVm(vm=life.vm, host=host), life.shape)
    if life.host != host:
        raise Wrong(f"it was migrated to {host}, and is on {life.host}")
    if life.shape.on and info.key is not None and done.encrypted is not True:
        raise Wrong("the memory of an encrypted VM was migrated in clear")


async def _relocate(life: VmLife) -> None:
    """To another vCenter: the log of the one before ends with it."""
    await life.read_log()
    source = life.vcenter
    others = [one for one in leaders(life.means.lab) if one != source]
    vcenter = others[life.draws.below(len(others))]
    hosts = await hosts_of_vcenter(life.means.lab, vcenter)
    host = hosts[life.draws.below(len(hosts))]
    message = vm_messages.RelocateVm(
        vm=life.vm, service=vm_messages.ServiceLocator(vcenter=vcenter), host=host
    )
    life.hold((await life.ask(message)).vm, "RelocateVm")
    if life.host != host:
        raise Wrong(f"it was relocated to {host}, and is on {life.host}")
    if life.vm in [one.vm for one in await all_vms(life.means.lab, source)]:
        raise Wrong(f"it was relocated to {vcenter}, and {source} lists it")
    info = await life.listed()
    if info is None:
        raise Wrong(f"it was relocated to {vcenter}, which does not list it")
    life.vcenter, life.cluster = vcenter, info.cluster
    await life.begin_log()


async def _set_stream_policy(life: VmLife) -> None:
    """Of an encrypted VM the memory always travels encrypted (MOB-02)."""
    policies = tuple(MigrateEncryption)
    policy = policies[life.draws.below(len(policies))]
    message = vm_messages.ReconfigVm(vm=life.vm, migrate_encryption=policy)
    has_key = life.shape.encrypted or life.shape.vtpm
    if has_key and policy is not MigrateEncryption.REQUIRED:
        await life.refused(message, InvalidState)
    else:
        await life.do(message, life.shape)


async def _register(life: VmLife) -> None:
    host = life.host
    for _ in range(2):  # the second one is no change
        await life.ask(vm_messages.UnregisterVm(vm=life.vm))
    if await life.listed() is not None:
        raise Wrong("it was taken out of the inventory, and is listed")
    answer = await life.ask(vm_messages.RegisterVm(vm=life.vm, cluster=life.cluster, host=host))
    life.hold(answer.vm, "RegisterVm")


async def _refusals(life: VmLife) -> None:
    """What must be refused, as the VM is now."""
    vm, shape = life.vm, life.shape
    nothing, nowhere = VmName(f"{vm}-none"), NodeName("none")
    for message, error in (
        (
            vm_messages.CreateVm(operation_id=life.next_id(), vm=vm, cluster=life.cluster),
            AlreadyExists,
        ),
        (vm_messages.CloneVm(operation_id=life.next_id(), vm=vm, source=vm), AlreadyExists),
        (vm_messages.PowerOnVm(vm=nothing), NotFound),
        (vm_messages.MigrateVm(vm=vm, host=nowhere), NotFound),
        (vm_messages.RevertToSnapshot(vm=vm, snapshot="none"), NotFound),
    ):
        await life.refused(message, error)
    await (_refusals_on if shape.on else _refusals_off)(life)
    if not shape.encrypted and not shape.vtpm:
        await life.refused(vm_messages.RecryptVm(operation_id=life.next_id(), vm=vm), InvalidState)
        message = vm_messages.CloneVm(
            operation_id=life.next_id(), vm=life.clone_name, source=vm, recrypt=True
        )
        await life.refused(message, InvalidState)


async def _refusals_on(life: VmLife) -> None:
    vm = life.vm
    for message in (
        vm_messages.DestroyVm(vm=vm),
        vm_messages.UnregisterVm(vm=vm),
        vm_messages.RemoveDisk(vm=vm, disk=1),
    ):
        await life.refused(message, InvalidPowerState)
    if not life.shape.vtpm:
        await life.refused(
            vm_messages.AddVtpm(operation_id=life.next_id(), vm=vm), InvalidPowerState
        )


async def _refusals_off(life: VmLife) -> None:
    vm, shape = life.vm, life.shape
    if shape.disks == (1,):
        await life.refused(vm_messages.RemoveDisk(vm=vm, disk=1), InvalidState)
    if shape.vtpm:
        await life.refused(vm_messages.AddVtpm(operation_id=life.next_id(), vm=vm), AlreadyExists)
    if life.kept and shape.vtpm:
        await life.refused(vm_messages.RemoveVtpm(vm=vm), InvalidState)
    if shape.encrypted:
        await life.refused(vm_messages.EncryptVm(operation_id=life.next_id(), vm=vm), InvalidState)
        other = vm_messages.RecryptVm(operation_id=life.next_id(), vm=vm, disk=max(shape.disks) + 1)
        await life.refused(other, NotFound)
    if life.kept and shape.encrypted:
        deep = vm_messages.RecryptVm(operation_id=life.next_id(), vm=vm, deep=True)
        await life.refused(deep, InvalidState)
        await life.refused(vm_messages.DecryptVm(vm=vm), InvalidState)
    if not shape.encrypted and not shape.vtpm:
        own = vm_messages.AddDisk(operation_id=life.next_id(), vm=vm, own_key=True)
        await life.refused(own, InvalidState)


def _may_alter(life: VmLife) -> bool:
    return not life.shape.on and not life.kept


TASKS: Final[Mapping[str, tuple[Callable[[VmLife], Awaitable[None]], Callable[[VmLife], bool]]]] = (
    MappingProxyType(
        {
            "power_on": (_power_on, lambda life: not life.shape.on),
            "power_off": (_power_off, lambda life: life.shape.on),
            "add_disk": (
                _add_disk,
                lambda life: _may_alter(life) and life.shape.encrypted >= life.shape.vtpm,
            ),
            "remove_disk": (
                _remove_disk,
                lambda life: _may_alter(life) and len(life.shape.disks) > 1,
            ),
            "add_vtpm": (_add_vtpm, lambda life: _may_alter(life) and not life.shape.vtpm),
            "remove_vtpm": (_remove_vtpm, lambda life: _may_alter(life) and life.shape.vtpm),
            "encrypt": (_encrypt, lambda life: _may_alter(life) and not life.shape.encrypted),
            "decrypt": (
                _decrypt,
                lambda life: _may_alter(life) and life.shape.encrypted and not life.shape.vtpm,
            ),
            "recrypt": (_recrypt, lambda life: life.shape.encrypted),
            "recrypt_deep": (_recrypt_deep, lambda life: _may_alter(life) and life.shape.encrypted),
            "snapshot": (_snapshot, lambda life: len(life.kept) < 2),
            "revert": (_revert, lambda life: bool(life.kept)),
            "remove_snapshot": (_remove_snapshot, lambda life: bool(life.kept)),
            "clone": (_clone, lambda life: True),
            "template": (_template, _may_alter),
            "migrate": (_migrate, lambda life: len(life.hosts()) > 1),
            "relocate": (
                _relocate,
                lambda life: len(leaders(life.means.lab)) > 1 and not life.kept,
            ),
            "stream_policy": (_set_stream_policy, lambda life: True),
            "register": (_register, lambda life: not life.shape.on),
            "refusals": (_refusals, lambda life: True),
        }
    )
)
"""Each task, and when it may be done."""


async def _live(means: Means, arrival: Arrival) -> OperationOutcome:
    """A VM beside ``target``'s from its creation to its end."""
    cluster = await means.cluster_of(VmName(arrival.target))
    life = VmLife(
        means=means,
        vcenter=await means.vcenter(cluster),
        cluster=cluster,
        id=means.operation_id(arrival),
        draws=Draws(arrival.number, f"life/{arrival.target}"),
        vm=VmName(f"{OWN}{means.operation_id(arrival)}"),
    )
    steps = ["CreateVm"]
    try:
        await begin_life(life, encrypted=life.draws.unit() < 0.6)
        for _ in range(STEPS):
            possible = [name for name, (_, may_be) in TASKS.items() if may_be(life)]
            steps.append(possible[life.draws.below(len(possible))])
            await TASKS[steps[-1]][0](life)
            await life.look(steps[-1])
        await end_life(life)
    except Wrong as wrong:
        return OperationOutcome("ok", {"tasks": steps, "wrong": str(wrong)})
    except Drifted as drifted:
        return OperationOutcome("info", {"tasks": steps, "error": str(drifted)})
    except ProductError as error:
        told = f"{type(error).__name__} in {steps[-1]}"
        kind = "fail" if error.definite and life.host is None else "info"
        return OperationOutcome(kind, {"tasks": steps, "error": told})
    return OperationOutcome("ok", {"tasks": steps})


async def begin_life(life: VmLife, *, encrypted: bool) -> None:
    """The VM is made."""
    message = vm_messages.CreateVm(
        operation_id=life.next_id(), vm=life.vm, cluster=life.cluster, encrypted=encrypted
    )
    await life.begin_log()
    made = await life.do(message, VmShape(encrypted=encrypted))
    if encrypted:
        life.expect(EventTypeId.CRYPTO_OPERATION, made.vm.key)
    await life.look("CreateVm")


async def end_life(life: VmLife) -> None:
    """The VM is destroyed."""
    if life.shape.on:
        await _power_off(life)
    for _ in range(2):  # the second one is no change
        await life.ask(vm_messages.DestroyVm(vm=life.vm))
    if await life.listed() is not None:
        raise Wrong("it was destroyed, and vCenter lists it")
    await life.read_log()


OPERATIONS: Final = (
    WorkloadOperation(
        "vm.live",
        "vms",
        "make a VM beside another one, take it through tasks and destroy it",
        _live,
    ),
)
