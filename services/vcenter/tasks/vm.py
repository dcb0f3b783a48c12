"""Creating a VM: choose the host, record the choice, have the host make it, record the VM.

A repeat goes to the host that was chosen the first time, where making it again is no change.
"""

from __future__ import annotations

from protocol import names
from protocol.errors import AlreadyExists
from protocol.messages.host import HostCreateVm
from protocol.messages.vcenter import CreateVm, VmCreated
from protocol.terms import NodeName
from services.vcenter.inventory import Edit, put
from services.vcenter.tables import OperationKind, OperationRow, Table, VmRow
from services.vcenter.tasks.encrypt import recorded
from services.vcenter.vcenter import VCenter


async def create_vm(vc: VCenter, message: CreateVm) -> VmCreated:
    """See the module's text. Runs in the VM's turn."""
    names.VM.check(message.vm)
    before = await recorded(vc, message.operation_id, OperationKind.CREATE_VM, message.vm)
    if message.vm in vc.inventory.vms:
        if before is None:
            raise AlreadyExists(f"there is a virtual machine {message.vm} already")
        return VmCreated(vm=vc.vm_info(message.vm))
    if before is not None and before.host in vc.inventory.hosts and before.host is not None:
        host = before.host
    else:
        host = vc.placement.choose(message.cluster, message.host)
        row = OperationRow(
            name=message.operation_id,
            kind=OperationKind.CREATE_VM,
            subject=message.vm,
            host=host,
        )
        with vc.placement.making_on(host):
            await vc.inventory.commit(put(Table.OPERATION, row.name, row))
            return await _make(vc, message, host)
    return await _make(vc, message, host)


async def _make(vc: VCenter, message: CreateVm, host: NodeName) -> VmCreated:
    session = vc.sessions.usable(host)
    state = await session.command(HostCreateVm(vm=message.vm, blocks=message.blocks))
    made = VmRow(
        name=message.vm,
        cluster=message.cluster,
        host=host,
        power=state.summary.power,
        keys=state.summary.keys,
    )
    await vc.inventory.commit(Edit(Table.VM, message.vm, lambda row: row or made))
    return VmCreated(vm=vc.vm_info(message.vm))
