"""VMs: made, encrypted, under other keys, moved, powered, unlocked, out of the inventory."""

from __future__ import annotations

from typing import Annotated, Any, Final

from chaos.actions.base import Acting, Action, ActionTarget, On, asks_vcenter, on_vms
from chaos.faults.base import Params
from chaos.naming import name_validator
from chaos.workload import OperationOutcome
from chaos.workload.moves import fetch_vm, hosts_of_vcenter, migration_outcome, other_hosts
from protocol import names
from protocol.errors import NotFound
from protocol.messages.vcenter import (
    CreateVm,
    CryptoUnlock,
    DestroyVm,
    EncryptVm,
    MigrateVm,
    PowerOffVm,
    PowerOnVm,
    RecryptVm,
    RegisterVm,
    RelocateVm,
    ServiceLocator,
    UnregisterVm,
    VmInfo,
)
from protocol.terms import ClusterName, CryptoKeyId, NodeName, ProviderId, VmName


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


def _build_outcome(vm: VmInfo, key: CryptoKeyId | None) -> OperationOutcome:
    about = {} if key is None else {"key": str(key.key_id), "provider": str(key.provider_id)}
    return OperationOutcome("ok", {"vm": str(vm.vm), **about})


async def _create(acting: Acting, target: str, params: Any) -> OperationOutcome:
    clusters = [entry.cluster for entry in acting.lab.directory().nodes if entry.cluster]
    if not clusters:
        raise NotFound("the lab has no cluster")
    message = CreateVm(
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
    done = await acting.ask(await acting.vcenter(target), PowerOnVm(vm=VmName(target)))
    return OperationOutcome("ok", {"host": str(done.vm.host)})


async def _register(acting: Acting, target: str, params: Any) -> OperationOutcome:
    """See ``RegisterParams``."""
    clusters = [entry.cluster for entry in acting.lab.directory().nodes if entry.cluster]
    cluster = ClusterName(params.cluster or next(iter(clusters), ""))
    host = NodeName(params.host) if params.host else None
    message = RegisterVm(vm=VmName(target), cluster=cluster, host=host)
    await acting.ask(await acting.vcenter(cluster), message)
    return OperationOutcome("ok", {})


async def _encrypt(acting: Acting, target: str, params: Any) -> OperationOutcome:
    message = EncryptVm(
        operation_id=acting.name, vm=VmName(target), provider=_provider(params.provider)
    )
    done = await acting.ask(await acting.vcenter(target), message)
    return _build_outcome(done.vm, done.key)


async def _recrypt(acting: Acting, target: str, params: Any) -> OperationOutcome:
    message = RecryptVm(
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
        message = RelocateVm(vm=vm, service=ServiceLocator(vcenter=other), host=host)
        return migration_outcome(await acting.ask(await acting.vcenter(target), message))
    if params.host is not None:
        host = NodeName(params.host)
    else:
        info = await fetch_vm(acting.lab, vm)
        hosts = await other_hosts(acting.lab, info)
        host = next((name for name in hosts if name > info.host), hosts[0])
    done = await acting.ask(await acting.vcenter(target), MigrateVm(vm=vm, host=host))
    return migration_outcome(done)


ACTIONS: Final = (
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
    on_vms("vm.off", "power VMs off", asks_vcenter(lambda vm, _: PowerOffVm(vm=VmName(vm)))),
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
        asks_vcenter(lambda vm, _: CryptoUnlock(vm=VmName(vm))),
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
        asks_vcenter(lambda vm, _: UnregisterVm(vm=VmName(vm))),
    ),
    on_vms(
        "vm.destroy",
        "delete powered-off VMs with their files",
        asks_vcenter(lambda vm, _: DestroyVm(vm=VmName(vm))),
    ),
)
