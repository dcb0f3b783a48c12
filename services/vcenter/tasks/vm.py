"""Creating a VM: choose the host, record the choice, have the host make it, record the VM.

A repeat goes to the host that was chosen the first time, where making it again is no change.
"""

from __future__ import annotations

from protocol.errors import AlreadyExists, HostUnreachable, InvalidArgument, NotFound
from protocol.messages.host import HostCreateVm
from protocol.messages.vcenter import CreateVm, VmCreated
from protocol.terms import ClusterName, NodeName
from services.vcenter.inventory import Edit, put
from services.vcenter.parts import Parts
from services.vcenter.rows import OperationKind, OperationRow, Table, VmRow
from services.vcenter.tasks.encrypt import recorded


async def create_vm(vc: Parts, message: CreateVm) -> VmCreated:
    """See the module's text. Runs in the VM's turn."""
    if not message.vm:
        raise InvalidArgument("vm: it has no name")
    before = await recorded(vc, message.operation_id, OperationKind.CREATE_VM, message.vm)
    if message.vm in vc.inventory.vms:
        if before is None:
            raise AlreadyExists(f"there is a virtual machine {message.vm} already")
        return VmCreated(vm=vc.vm_view(message.vm))
    if before is not None and before.host in vc.inventory.hosts and before.host is not None:
        host = before.host
    else:
        host = _choose(vc, message.cluster, message.host)
        row = OperationRow(
            name=message.operation_id,
            kind=OperationKind.CREATE_VM,
            subject=message.vm,
            host=host,
        )
        vc.placing[host] = vc.placing.get(host, 0) + 1
        try:
            await vc.inventory.commit(put(Table.OPERATION, row.name, row))
            return await _make(vc, message, host)
        finally:
            vc.placing[host] -= 1
    return await _make(vc, message, host)


async def _make(vc: Parts, message: CreateVm, host: NodeName) -> VmCreated:
    link = vc.hosts.usable(host)
    state = await link.command(HostCreateVm(vm=message.vm, blocks=message.blocks))
    made = VmRow(
        name=message.vm,
        cluster=message.cluster,
        host=host,
        power=state.summary.power,
        keys=state.summary.keys,
    )
    await vc.inventory.commit(Edit(Table.VM, message.vm, lambda row: row or made))
    return VmCreated(vm=vc.vm_view(message.vm))


def _choose(vc: Parts, cluster: ClusterName, named: NodeName | None) -> NodeName:
    """The named host, or the connected one with the fewest VMs; the first added among equals."""
    if cluster not in vc.inventory.clusters:
        raise NotFound(f"there is no cluster {cluster}")
    if named is not None:
        if vc.host(named).cluster != cluster:
            raise InvalidArgument(f"host: {named} is not in cluster {cluster}")
        return vc.hosts.usable(named).host
    found = [
        row.name
        for row in vc.inventory.hosts_of(cluster)
        if (link := vc.hosts.get(row.name)) is not None and link.session is not None
    ]
    if not found:
        raise HostUnreachable(f"no host of cluster {cluster} is connected")
    return min(found, key=lambda h: len(vc.inventory.vms_on(h)) + vc.placing.get(h, 0))
