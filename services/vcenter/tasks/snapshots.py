"""Snapshots and templates. Each runs in the VM's turn; the VM's host executes it.

If the key of an encrypted VM's home is needed, it is first delivered to the host, if available.
"""

from __future__ import annotations

from protocol.errors import InvalidPowerState, InvalidState
from protocol.messages.host.session import VmSummary
from protocol.messages.host.vms import (
    HostCreateSnapshot,
    HostMarkTemplate,
    HostRemoveSnapshot,
    HostRevertToSnapshot,
)
from protocol.messages.vcenter.vms import (
    CreateSnapshot,
    MarkAsTemplate,
    MarkAsVirtualMachine,
    RemoveSnapshot,
    RevertToSnapshot,
    VmMarked,
    VmSnapshots,
)
from protocol.terms import PowerState
from services.vcenter.hosts.host_reports import copies_of
from services.vcenter.hosts.session import HostSession
from services.vcenter.inventory import change_vm
from services.vcenter.tables import VmRow
from services.vcenter.tasks.power import start
from services.vcenter.vcenter import VCenter


def check_no_snapshots(row: VmRow, what: str) -> None:
    """``InvalidState`` before a key is created for something that the host would refuse (REK-02,
    CLN-02)."""
    if row.snapshots:
        raise InvalidState(
            f"{row.name} has snapshots ({', '.join(row.snapshots[:5])}): remove them to {what}"
        )


async def create_snapshot(vc: VCenter, message: CreateSnapshot) -> VmSnapshots:
    """See ``CreateSnapshot``."""
    row, session = await _ready(vc, vc.vm(message.vm))
    command = HostCreateSnapshot(vm=row.name, snapshot=message.snapshot, memory=message.memory)
    vm = await session.command_vm(command)
    return await _record(vc, vm)


async def remove_snapshot(vc: VCenter, message: RemoveSnapshot) -> VmSnapshots:
    """See ``RemoveSnapshot``."""
    row, session = await _ready(vc, vc.vm(message.vm))
    vm = await session.command_vm(HostRemoveSnapshot(vm=row.name, snapshot=message.snapshot))
    return await _record(vc, vm)


async def revert_to_snapshot(vc: VCenter, message: RevertToSnapshot) -> VmSnapshots:
    """The host reverts at once, and leaves a running VM alone when it cannot. If it is off
    afterwards, its keys are judged as after any power-off."""
    row, session = await _ready(vc, vc.vm(message.vm))
    command = HostRevertToSnapshot(
        vm=row.name, snapshot=message.snapshot, suppress_power_on=message.suppress_power_on
    )
    reverted = await start(vc, session, row, command)
    if row.keys and row.power is PowerState.ON and reverted.power is PowerState.OFF:
        vc.passes.want(row.host)
    return await _record(vc, reverted)


async def mark(vc: VCenter, message: MarkAsTemplate | MarkAsVirtualMachine) -> VmMarked:
    """See ``MarkAsTemplate``. Nothing of the VM is opened, so its keys are not needed."""
    row, template = vc.vm(message.vm), isinstance(message, MarkAsTemplate)
    if row.power is not PowerState.OFF:
        raise InvalidPowerState(f"{row.name} is {row.power.value}; power it off first")
    session = vc.sessions.usable(row.host)
    vm = await session.command_vm(HostMarkTemplate(vm=row.name, template=template))
    await vc.inventory.commit(change_vm(row.name, template=vm.template is True))
    return VmMarked(vm=vc.vm_info(row.name))


async def _ready(vc: VCenter, row: VmRow) -> tuple[VmRow, HostSession]:
    """The VM, and the session of its host, with its keys delivered as far as possible."""
    session = vc.sessions.usable(row.host)
    if row.keys:
        await vc.remediation.restore(session, row.name, may_unlock=vc.node.knobs.auto_unlock)
        row = vc.vm(row.name)
        session = vc.sessions.usable(row.host)
    return row, session


async def _record(vc: VCenter, vm: VmSummary) -> VmSnapshots:
    await vc.inventory.commit(change_vm(vm.vm, **copies_of(vm)))
    return VmSnapshots(vm=vc.vm_info(vm.vm))
