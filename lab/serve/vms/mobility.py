"""VMs that move between hosts, asked of vCenter as a vSphere client would."""

from __future__ import annotations

from lab.schema import commands
from lab.schema.answers import Migration, Vm
from lab.schema.errors import KeysteadError
from lab.serve.executing import executes
from lab.serve.session import LabSession
from lab.serve.views import vm_view
from lab.serve.vms.whereabouts import at_vm
from protocol.errors import ProductError
from protocol.messages.vcenter import (
    MigrateVm,
    ReconfigVm,
    RelocateVm,
    ServiceLocator,
    VmRelocated,
)

TASK_S = 120.0  # lab seconds for a task that has two hosts in it


@executes
async def migrate(session: LabSession, command: commands.VmMigrate) -> Migration:
    """See ``VmMigrate``."""
    vm, host = session.vm(command.vm), session.host(command.host)
    message: MigrateVm | RelocateVm = MigrateVm(vm=vm, host=host)
    if command.to_vcenter:
        service = ServiceLocator(
            vcenter=session.at(command.to_vcenter).vcenter, user=command.to_user
        )
        message = RelocateVm(vm=vm, service=service, host=host)
    vcenter = (await at_vm(session, vm)).vcenter
    try:
        done: VmRelocated = await session.ask(vcenter, message, within_s=TASK_S)
    except ProductError:
        other = session.lab.vcenter_of(host)
        if command.to_vcenter or other == vcenter:
            raise
        text = f"{host} is a host of {other}, and {vm} is one of {vcenter}"
        fix = f"keystead vm migrate {vm} --host {host} --to-vcenter {other}"
        raise KeysteadError("KS-USE-003", text, fix) from None
    return Migration(
        vm=vm_view(done.vm), gap_s=done.gap_s, size=done.size, encrypted=done.encrypted
    )


@executes
async def set_stream(session: LabSession, command: commands.VmSetMigrateEncryption) -> Vm:
    """See ``VmSetMigrateEncryption``."""
    vm = session.vm(command.vm)
    message = ReconfigVm(vm=vm, migrate_encryption=command.policy)
    vcenter = (await at_vm(session, vm)).vcenter
    return vm_view((await session.ask(vcenter, message, within_s=TASK_S)).vm)
