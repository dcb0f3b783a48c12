"""Clones, templates and snapshots, asked of vCenter as a vSphere client would."""

from __future__ import annotations

from lab.schema import commands
from lab.schema.answers import Vm
from lab.schema.errors import KeysteadError
from lab.serve.executing import executes
from lab.serve.session import LabSession
from lab.serve.views import vm_view
from lab.serve.vms.whereabouts import at_vm, list_all_vms
from protocol.messages.host import TpmProvisionPolicy
from protocol.messages.vcenter import (
    CloneVm,
    CreateSnapshot,
    MarkAsTemplate,
    MarkAsVirtualMachine,
    RemoveSnapshot,
    RevertToSnapshot,
)
from protocol.terms import ProviderId, VmName

TASK_S = 120.0  # lab seconds for a task that copies disks


@executes
async def clone(session: LabSession, command: commands.VmClone) -> Vm:
    """See ``VmClone``."""
    lab, source = session.lab, session.vm(command.vm)
    message = CloneVm(
        operation_id=lab.operation_id(),
        vm=VmName(command.clone),
        source=source,
        host=session.host(command.host) if command.host else None,
        template=command.template,
        recrypt=command.recrypt,
        provider=ProviderId(command.provider) if command.provider else None,
        tpm=TpmProvisionPolicy(command.tpm) if command.tpm else None,
    )
    vcenter = (await at_vm(session, source)).vcenter
    made = (await session.ask(vcenter, message, within_s=TASK_S)).vm
    lab.know_vm(made.vm)
    return vm_view(made)


@executes
async def template(session: LabSession, command: commands.VmTemplate) -> Vm:
    """See ``VmTemplate``."""
    vm = session.vm(command.vm)
    message = MarkAsVirtualMachine(vm=vm) if command.off else MarkAsTemplate(vm=vm)
    vcenter = (await at_vm(session, vm)).vcenter
    return vm_view((await session.ask(vcenter, message, within_s=TASK_S)).vm)


@executes
async def create_snapshot(session: LabSession, command: commands.VmSnapshotCreate) -> Vm:
    """See ``VmSnapshotCreate``."""
    vm = session.vm(command.vm)
    if command.snapshot in (await _snapshots(session, vm) or ()):
        fix = "choose another name, or `keystead vm snapshot remove` the old one"
        text = f"{vm} has a snapshot {command.snapshot} already, of an earlier moment"
        raise KeysteadError("KS-USE-003", text, fix)
    message = CreateSnapshot(vm=vm, snapshot=command.snapshot, memory=command.memory)
    return await _snapshot(session, message)


@executes
async def remove_snapshot(session: LabSession, command: commands.VmSnapshotRemove) -> Vm:
    """See ``VmSnapshotRemove``; KS-USE-002 when the VM has none of that name."""
    vm = session.vm(command.vm)
    there = await _snapshots(session, vm)
    if there is not None and command.snapshot not in there:
        fix = f"it has {', '.join(there)}" if there else "it has none"
        raise KeysteadError("KS-USE-002", f"{vm} has no snapshot {command.snapshot}", fix)
    return await _snapshot(session, RemoveSnapshot(vm=vm, snapshot=command.snapshot))


@executes
async def revert(session: LabSession, command: commands.VmSnapshotRevert) -> Vm:
    """See ``VmSnapshotRevert``."""
    vm = session.vm(command.vm)
    message = RevertToSnapshot(
        vm=vm, snapshot=command.snapshot, suppress_power_on=command.suppress_power_on
    )
    return await _snapshot(session, message)


async def _snapshots(session: LabSession, vm: VmName) -> tuple[str, ...] | None:
    """The names of those that it has; None when no vCenter lists it."""
    found = next((one for _, one in await list_all_vms(session) if one.vm == vm), None)
    return None if found is None else tuple(found.snapshots or ())


async def _snapshot(
    session: LabSession, message: CreateSnapshot | RemoveSnapshot | RevertToSnapshot
) -> Vm:
    vcenter = (await at_vm(session, message.vm)).vcenter
    return vm_view((await session.ask(vcenter, message, within_s=TASK_S)).vm)
