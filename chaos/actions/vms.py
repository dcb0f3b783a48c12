"""Actions on VMs: created, encrypted, recrypted, migrated, powered, unlocked and registered;
cloned, kept in a snapshot and reverted; disks added under a key and removed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from chaos.actions.base import Acting, Action, ActionTarget, On, asks_vcenter, on_vms
from chaos.faults.base import Params
from chaos.fields import name_validator
from chaos.observe.look import LabLook
from chaos.workload import OperationOutcome
from chaos.workload.operations import fetch_vm, hosts_of_vcenter, migration_outcome, other_hosts
from protocol import names
from protocol.errors import NotFound, ProductError
from protocol.messages.host.vms import HostAddDisk
from protocol.messages.vcenter import vms as vm_messages
from protocol.terms import ClusterName, CryptoKeyId, KeyId, NodeName, ProviderId, VmName


class CreateParams(Params):
    """Its name (the entry's id when left out), where, and whether it is encrypted at once."""

    name: Annotated[str, name_validator(names.VM)] | None = None
    cluster: str | None = None
    encrypted: bool = False
    provider: str | None = None


class EncryptParams(On):
    """Under a new key of ``provider``, the default when it is left out."""

    provider: str | None = None


class RecryptParams(On):
    """Under a new key of ``provider``, the default when it is left out; ``deep``: with new keys of
    its data too, which is rewritten while the VM is off."""

    provider: str | None = None
    deep: bool = False


class MigrateParams(On):
    """To which host of its cluster; when it is left out, to the next connected one by name. With
    ``to_vcenter`` to a host of that vCenter, the first connected one by name."""

    host: Annotated[str, name_validator(names.NODE)] | None = None
    to_vcenter: Annotated[str, name_validator(names.NODE)] | None = None


class RegisterParams(On):
    """In which cluster, the lab's first when it is left out, and on which host of it, the emptiest
    when it is left out."""

    cluster: Annotated[str, name_validator(names.CLUSTER)] | None = None
    host: Annotated[str, name_validator(names.NODE)] | None = None


def _provider(name: str | None) -> ProviderId | None:
    return ProviderId(name) if name else None


def _build_outcome(vm: vm_messages.VmInfo, key: CryptoKeyId | None) -> OperationOutcome:
    about = {} if key is None else {"key": str(key.key_id), "provider": str(key.provider_id)}
    return OperationOutcome("ok", {"vm": str(vm.vm), **about})


async def _create(acting: Acting, target: str, params: Any) -> OperationOutcome:
    clusters = [entry.cluster for entry in acting.lab.directory().nodes if entry.cluster]
    if not clusters:
        raise NotFound("the lab has no cluster")
    message = vm_messages.CreateVm(
        operation_id=acting.name,
        vm=VmName(params.name or acting.name),
        cluster=ClusterName(params.cluster or clusters[0]),
        encrypted=params.encrypted,
        provider=_provider(params.provider),
    )
    made = (await acting.ask(await acting.vcenter(message.cluster), message)).vm
    return _build_outcome(made, made.key)


async def _power_on(acting: Acting, target: str, params: Any) -> OperationOutcome:
    """The outcome has its host, which DRS may have chosen."""
    done = await acting.ask(await acting.vcenter(target), vm_messages.PowerOnVm(vm=VmName(target)))
    return OperationOutcome("ok", {"host": str(done.vm.host)})


async def _register(acting: Acting, target: str, params: Any) -> OperationOutcome:
    """See ``RegisterParams``."""
    clusters = [entry.cluster for entry in acting.lab.directory().nodes if entry.cluster]
    cluster = ClusterName(params.cluster or next(iter(clusters), ""))
    host = NodeName(params.host) if params.host else None
    message = vm_messages.RegisterVm(vm=VmName(target), cluster=cluster, host=host)
    await acting.ask(await acting.vcenter(cluster), message)
    return OperationOutcome("ok", {})


async def _encrypt(acting: Acting, target: str, params: Any) -> OperationOutcome:
    message = vm_messages.EncryptVm(
        operation_id=acting.name, vm=VmName(target), provider=_provider(params.provider)
    )
    done = await acting.ask(await acting.vcenter(target), message)
    return _build_outcome(done.vm, done.key)


async def _recrypt(acting: Acting, target: str, params: Any) -> OperationOutcome:
    message = vm_messages.RecryptVm(
        operation_id=acting.name,
        vm=VmName(target),
        provider=_provider(params.provider),
        deep=params.deep,
    )
    done = await acting.ask(await acting.vcenter(target), message)
    made = _build_outcome(done.vm, done.key)
    return OperationOutcome("ok", {**made.data, "old": sorted(str(key) for key in done.old)})


async def _migrate(acting: Acting, target: str, params: Any) -> OperationOutcome:
    vm = VmName(target)
    if params.to_vcenter is not None:
        other = NodeName(params.to_vcenter)
        said = NodeName(params.host) if params.host else None
        host = said or (await hosts_of_vcenter(acting.lab, other))[0]
        message = vm_messages.RelocateVm(
            vm=vm, service=vm_messages.ServiceLocator(vcenter=other), host=host
        )
        return migration_outcome(await acting.ask(await acting.vcenter(target), message))
    if params.host is not None:
        host = NodeName(params.host)
    else:
        info = await fetch_vm(acting.lab, vm)
        hosts = await other_hosts(acting.lab, info)
        host = next((name for name in hosts if name > info.host), hosts[0])
    done = await acting.ask(await acting.vcenter(target), vm_messages.MigrateVm(vm=vm, host=host))
    return migration_outcome(done)


VM_ACTIONS: Final = (
    Action(
        "vm.create",
        ActionTarget.NOTHING,
        "create a powered-off VM",
        _create,
        CreateParams,
        "name: vm-new, encrypted: true",
    ),
    on_vms("vm.encrypt", "encrypt powered-off VMs under new keys", _encrypt, EncryptParams),
    on_vms("vm.on", "power VMs on", _power_on),
    on_vms(
        "vm.off", "power VMs off", asks_vcenter(lambda vm, _: vm_messages.PowerOffVm(vm=VmName(vm)))
    ),
    on_vms("vm.recrypt", "put encrypted VMs under new keys", _recrypt, RecryptParams),
    on_vms(
        "vm.migrate",
        "move VMs to another host, of their cluster or another vCenter; those that run go on",
        _migrate,
        MigrateParams,
    ),
    on_vms(
        "vm.unlock",
        "unlock VMs whose keys are available again",
        asks_vcenter(lambda vm, _: vm_messages.CryptoUnlock(vm=VmName(vm))),
    ),
    on_vms(
        "vm.register",
        "bring VMs whose files lie on the datastore back into the inventory",
        _register,
        RegisterParams,
    ),
    on_vms(
        "vm.unregister",
        "take powered-off VMs out of the inventory; their files stay",
        asks_vcenter(lambda vm, _: vm_messages.UnregisterVm(vm=VmName(vm))),
    ),
    on_vms(
        "vm.destroy",
        "delete powered-off VMs with their files",
        asks_vcenter(lambda vm, _: vm_messages.DestroyVm(vm=VmName(vm))),
    ),
)


class CloneParams(On):
    """The clone's name (the entry's id when left out); with ``recrypt`` it is under a new key of
    ``provider``, the default when it is left out."""

    name: Annotated[str, name_validator(names.VM)] | None = None
    recrypt: bool = False
    provider: str | None = None


class SnapshotParams(On):
    """The snapshot's name, and whether the memory of a VM that runs is kept too."""

    name: Annotated[str, name_validator(names.SNAPSHOT)]
    memory: bool = False


class RevertParams(On):
    """To the snapshot of this name; ``suppress_power_on``: to its disks alone, if it has memory."""

    name: Annotated[str, name_validator(names.SNAPSHOT)]
    suppress_power_on: bool = False


@asynccontextmanager
async def _leave_alone(acting: Acting, vm: VmName) -> AsyncIterator[None]:
    if acting.guests is None:
        yield
        return
    async with acting.guests.leave_alone(vm):
        yield


async def _clone(acting: Acting, target: str, params: Any) -> OperationOutcome:
    vm, clone = VmName(target), VmName(params.name or acting.name)
    message = vm_messages.CloneVm(
        operation_id=acting.name,
        vm=clone,
        source=vm,
        recrypt=params.recrypt,
        provider=ProviderId(params.provider) if params.provider else None,
    )
    async with _leave_alone(acting, vm):
        made = (await acting.ask(await acting.vcenter(target), message)).vm
        if acting.guests is not None:
            acting.guests.record_clone(vm, clone)
    about = {"vm": str(made.vm)}
    if params.recrypt:
        about |= {"key": str(made.key.key_id), "provider": str(made.key.provider_id)}
    return OperationOutcome("ok", about)


async def _snapshot(acting: Acting, target: str, params: Any) -> OperationOutcome:
    vm = VmName(target)
    message = vm_messages.CreateSnapshot(vm=vm, snapshot=params.name, memory=params.memory)
    async with _leave_alone(acting, vm):
        await acting.ask(await acting.vcenter(target), message)
        if acting.guests is not None:
            acting.guests.record_snapshot(vm, params.name)
    return OperationOutcome("ok", {})


async def _revert(acting: Acting, target: str, params: Any) -> OperationOutcome:
    vm = VmName(target)
    message = vm_messages.RevertToSnapshot(
        vm=vm, snapshot=params.name, suppress_power_on=params.suppress_power_on
    )
    async with _leave_alone(acting, vm):
        try:
            done = (await acting.ask(await acting.vcenter(target), message)).vm
        except ProductError as error:
            if not error.definite and acting.guests is not None:
                acting.guests.forget(vm)  # it may have gone back
            raise
        if acting.guests is not None:
            acting.guests.went_back(vm, params.name)
    return OperationOutcome("ok", {"power": done.power.value})


COPY_ACTIONS: Final = (
    on_vms(
        "vm.clone",
        "clone VMs, off or running; the clones are off",
        _clone,
        CloneParams,
        "on: vm-01, name: copy",
    ),
    on_vms(
        "vm.snapshot",
        "take snapshots of VMs, with the memory of running VMs on request",
        _snapshot,
        SnapshotParams,
        "on: vm-01, name: before, memory: true",
    ),
    on_vms(
        "vm.revert",
        "revert VMs to a snapshot; they run if it has their memory",
        _revert,
        RevertParams,
        "on: vm-01, name: before",
    ),
)


class AddDiskParams(On):
    """Under a key of its own of ``provider``; under the key of the VM when it is left out."""

    provider: str | None = None


class ReferenceParams(On):
    """The reference to a key as it stands in the request: ``provider``, and ``key``, which may be
    missing."""

    provider: Annotated[str, name_validator(names.PROVIDER)]
    key: Annotated[str, StringConstraints(max_length=200)] = ""


class RemoveDiskParams(On):
    """The disk's number, as in "Hard disk 2"."""

    disk: Annotated[int, Field(ge=1, strict=True)]


async def _add(acting: Acting, target: str, params: Any) -> OperationOutcome:
    provider = ProviderId(params.provider) if params.provider else None
    message = vm_messages.AddDisk(operation_id=acting.name, vm=VmName(target), provider=provider)
    done = await acting.ask(await acting.vcenter(target), message)
    return OperationOutcome("ok", {"disk": done.disk})


async def _add_at_host(acting: Acting, target: str, params: Any) -> OperationOutcome:
    """As a request for a first-class disk reaches the VM's host, with the reference as it is."""
    seen = await LabLook(acting.lab).vms()
    if VmName(target) not in seen:
        raise NotFound(f"no host has {target}")
    key = CryptoKeyId(KeyId(params.key), ProviderId(params.provider))
    message = HostAddDisk(vm=VmName(target), operation_id=acting.name, key=key)
    await acting.ask(seen[VmName(target)][0], message)
    return OperationOutcome("ok", {})


DISK_ACTIONS: Final = (
    on_vms(
        "vm.add-disk",
        "give powered-off VMs one more disk",
        _add,
        AddDiskParams,
        "on: vm-01, provider: kms-provider",
    ),
    on_vms(
        "vm.add-disk-at-host",
        "have the hosts of powered-off VMs add a disk with a given key reference",
        _add_at_host,
        ReferenceParams,
        "on: vm-01, provider: kms-provider",
    ),
    on_vms(
        "vm.remove-disk",
        "delete a disk with its data from powered-off VMs",
        asks_vcenter(lambda vm, params: vm_messages.RemoveDisk(vm=VmName(vm), disk=params.disk)),
        RemoveDiskParams,
        "on: vm-01, disk: 2",
    ),
)
