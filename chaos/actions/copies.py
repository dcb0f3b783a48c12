"""Copies of VMs: cloned, kept in a snapshot, and back to one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final

from chaos.actions.base import Acting, On, on_vms
from chaos.naming import name_validator
from chaos.workload import OperationOutcome
from protocol import names
from protocol.errors import ProductError
from protocol.messages.vcenter import CloneVm, CreateSnapshot, RevertToSnapshot
from protocol.terms import ProviderId, VmName


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
    message = CloneVm(
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
    message = CreateSnapshot(vm=vm, snapshot=params.name, memory=params.memory)
    async with _leave_alone(acting, vm):
        await acting.ask(await acting.vcenter(target), message)
        if acting.guests is not None:
            acting.guests.record_snapshot(vm, params.name)
    return OperationOutcome("ok", {})


async def _revert(acting: Acting, target: str, params: Any) -> OperationOutcome:
    vm = VmName(target)
    message = RevertToSnapshot(
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


ACTIONS: Final = (
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
