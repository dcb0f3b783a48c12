"""Adding and removing disks of a powered-off VM.

Adding: 1. if requested, a key for the disk is created and delivered to the host, as in ``encrypt``
2. the host adds the disk  3. the VM's keys are recorded, with a warning if there are several
(KEY-04). A repeat after a crash finds the recorded key, and the host finds the disk by the
operation's id; a completed operation only returns its result.

Removing: 1. the host removes the disk  2. a key that only it used is released (STD-17), and a VM
that was locked for it is unlocked (LOCK-03).
"""

from __future__ import annotations

import msgspec

from protocol.errors import InvalidPowerState, InvalidState, ProductError
from protocol.messages.host import Command, DisksOfVm, HostAddDisk, HostRemoveDisk
from protocol.messages.vcenter import AddDisk, RemoveDisk, VmDisks
from protocol.terms import PowerState
from services.vcenter import events
from services.vcenter.authorization.roles import TaskCaller
from services.vcenter.hosts.session import HostSession
from services.vcenter.inventory import change_vm, put
from services.vcenter.keys.grants import end_grants
from services.vcenter.removals import cancel_releases, release_keys
from services.vcenter.tables import DatabaseTable, OperationKind, OperationRow, VmRow
from services.vcenter.tasks.encrypt import GivenKey, find_operation, give_key, give_up
from services.vcenter.tasks.snapshots import check_no_snapshots
from services.vcenter.vcenter import VCenter


async def add_disk(vc: VCenter, message: AddDisk, caller: TaskCaller) -> VmDisks:
    """See the module. Runs in the VM's turn."""
    before = await find_operation(vc, message.operation_id, OperationKind.ADD_DISK, message.vm)
    row = vc.vm(message.vm)
    if before is not None and before.disk:
        return VmDisks(vm=vc.vm_info(row.name), disk=before.disk)
    session = await _ready(vc, row)
    check_no_snapshots(row, "add a disk")
    own = message.own_key or message.provider is not None
    if own and not row.keys:
        raise InvalidState(f"{row.name} is not encrypted: encrypt it first, then its disks can be")
    provider = vc.provider_for(message.provider, row.cluster) if own else None
    operation = before or OperationRow(
        name=message.operation_id,
        kind=OperationKind.ADD_DISK,
        subject=message.vm,
        provider=provider,
    )
    given = GivenKey(None, None, (), 0)
    if operation.provider is not None:
        given = await give_key(vc, session, operation, caller=caller)
    command = HostAddDisk(
        vm=row.name,
        operation_id=message.operation_id,
        blocks=message.blocks,
        key=given.key,
        provider=given.maker,
    )
    begun = msgspec.structs.replace(operation, key=given.key)
    await vc.inventory.commit(
        change_vm(row.name, recrypting=True), put(DatabaseTable.OPERATION, begun.name, begun)
    )
    try:
        made = await _command(vc, session, command)
    except ProductError as error:
        if error.definite:
            await vc.inventory.commit(change_vm(row.name, recrypting=False))
            new = () if given.key is None else (given.key,)
            await give_up(vc, row.cluster, new, vm=row.name)
        raise
    disk, keys = made.disks[-1], made.summary.keys
    ended = msgspec.structs.replace(operation, key=disk.key, disk=disk.disk)
    drafts = []
    if disk.key is not None and own:
        drafts.append(events.disk_encrypted(row.name, session.host, disk.disk, disk.key))
    if len(keys) > 1:
        drafts.append(events.diskchain_using_mixed_keys(row.name, session.host, keys))
    await vc.inventory.commit(
        change_vm(row.name, keys=keys, recrypting=False),
        put(DatabaseTable.OPERATION, ended.name, ended),
        *cancel_releases(keys),
        events=drafts,
    )
    if own:
        given.look_after_the_others(vc, session)
    return VmDisks(vm=vc.vm_info(row.name), disks=made.disks, disk=disk.disk)


async def remove_disk(vc: VCenter, message: RemoveDisk) -> VmDisks:
    """See the module. Runs in the VM's turn."""
    row = vc.vm(message.vm)
    session = await _ready(vc, row)
    await vc.inventory.commit(change_vm(row.name, recrypting=True))
    try:
        left = await _command(vc, session, HostRemoveDisk(vm=row.name, disk=message.disk))
    except ProductError as error:
        if error.definite:
            await vc.inventory.commit(change_vm(row.name, recrypting=False))
        raise
    keys = left.summary.keys
    gone = tuple(key for key in row.keys if key not in keys)
    hosts = [host.name for host in vc.inventory.hosts_of(row.cluster)] if gone else []
    vc.sharing.withdraw(gone)
    await vc.inventory.commit(
        change_vm(row.name, keys=keys, recrypting=False),
        *release_keys(gone, hosts),
        *end_grants(row.name, gone),
    )
    for host in hosts:
        vc.gathered.want(host, removing=True)
    if row.lock_event is not None:
        await vc.remediation.restore(session, row.name, may_unlock=vc.node.knobs.auto_unlock)
    return VmDisks(vm=vc.vm_info(row.name), disks=left.disks)


async def _ready(vc: VCenter, row: VmRow) -> HostSession:
    """The session of the VM's host, with the VM's keys delivered as far as possible."""
    if row.power is not PowerState.OFF:
        raise InvalidPowerState(f"{row.name} is {row.power.value}; power it off first")
    session = vc.sessions.usable(row.host)
    if row.keys:
        await vc.remediation.restore(session, row.name, may_unlock=vc.node.knobs.auto_unlock)
        session = vc.sessions.usable(row.host)
    return session


async def _command(vc: VCenter, session: HostSession, command: Command[DisksOfVm]) -> DisksOfVm:
    """As ``HostSession.command_vm``; the answer has all disks."""
    requested_at = vc.sessions.moment()
    answer = await session.command(command)
    vc.sessions.handle_vm_answer(session, answer.summary, requested_at)
    return answer
