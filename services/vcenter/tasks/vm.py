"""Creating a VM: choose the host, record the choice, have the host create it, record the VM.

An encrypted VM gets its key first, as in ``encrypt``: the host creates the VM under it, so a
failing task leaves no VM in clear. A repeat goes to the host that was chosen the first time, where
creating it again is no change.
"""

from __future__ import annotations

import msgspec

from protocol import names
from protocol.errors import AlreadyExists, ProductError
from protocol.messages.host import HostCreateVm
from protocol.messages.vcenter import CreateVm, VmCreated
from protocol.terms import NodeName
from services.vcenter import events
from services.vcenter.authorization.roles import TaskCaller
from services.vcenter.inventory import new_vm, put
from services.vcenter.removals import cancel_releases
from services.vcenter.tables import DatabaseTable, OperationKind, OperationRow, VmRow
from services.vcenter.tasks.encrypt import (
    find_operation,
    give_key_of_new_vm,
    give_up,
    modes_afterwards,
)
from services.vcenter.vcenter import VCenter


async def create_vm(vc: VCenter, message: CreateVm, caller: TaskCaller) -> VmCreated:
    """See the module. Runs in the VM's turn."""
    names.VM.check(message.vm)
    before = await find_operation(vc, message.operation_id, OperationKind.CREATE_VM, message.vm)
    if message.vm in vc.inventory.vms:
        if before is None:
            raise AlreadyExists(f"there is a virtual machine {message.vm} already")
        return VmCreated(vm=vc.vm_info(message.vm))
    vc.check_not_expected(message.vm)
    if before is not None and before.host is not None and before.host in vc.inventory.hosts:
        return await _make(vc, message, before, before.host, caller)
    host = vc.placement.choose(message.cluster, message.host, encrypted=message.encrypted)
    operation = before or OperationRow(
        name=message.operation_id,
        kind=OperationKind.CREATE_VM,
        subject=message.vm,
        provider=(
            vc.provider_for(message.provider, message.cluster) if message.encrypted else None
        ),
    )
    operation = msgspec.structs.replace(operation, host=host)
    with vc.placement.making_on(host):
        await vc.inventory.commit(put(DatabaseTable.OPERATION, operation.name, operation))
        return await _make(vc, message, operation, host, caller)


async def _make(
    vc: VCenter, message: CreateVm, operation: OperationRow, host: NodeName, caller: TaskCaller
) -> VmCreated:
    session, cluster = vc.sessions.usable(host), vc.host(host).cluster
    given = await give_key_of_new_vm(vc, session, operation, caller=caller)
    command = HostCreateVm(
        vm=message.vm,
        blocks=message.blocks,
        key=given.key,
        provider=given.maker,
        firmware=message.firmware,
        hardware=message.hardware,
    )
    try:
        vm = await session.command_vm(command)
    except ProductError as error:
        if error.definite and given.key is not None:
            await give_up(vc, cluster, (given.key,), vm=message.vm)
        raise
    encrypted = operation.provider is not None
    keys = given.keys_of(vm) if encrypted else ()
    if keys and host not in vc.inventory.hosts:  # the host was removed, and the VM with it
        await give_up(vc, cluster, keys, vm=None)
    made = VmRow(
        name=message.vm, cluster=vc.host(host).cluster, host=host, power=vm.power, keys=keys
    )
    await vc.inventory.commit(
        new_vm(made),
        *(modes_afterwards(vc, session, caller=caller) if encrypted else ()),
        *cancel_releases(keys),
        events=[events.vm_encrypted(message.vm, host, keys[0])] if encrypted else [],
    )
    if encrypted:
        given.look_after_the_others(vc, session)
    return VmCreated(vm=vc.vm_info(message.vm))
