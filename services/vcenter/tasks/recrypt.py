"""Other keys for an encrypted VM: RecryptVm (shallow or deep) and DecryptVm. In the VM's turn.

1. the keys that the VM is under are brought to its host, if they can be had (REK-01); of a disk
   alone, the host is asked whether the VM has it and it is encrypted, before a key is made for it
2. a new key is made and given as in ``encrypt``; it may be of another provider
3. the row says that the VM's keys are changing, so that what its host reports of them counts
4. the host wraps the DEKs anew, or rewrites the data; of one disk, or of all and of the home
5. the new keys are recorded, and those that no VM uses any more leave the hosts (STD-17); nothing
   is deleted at the key server (REK-03)

A failure leaves the old keys in force, and an event tells of it (REK-04). A repeat of the
operation after a crash goes on with the key that was made for it.
"""

from __future__ import annotations

import msgspec

from protocol.errors import (
    DatastoreFault,
    EncryptionKeyRequired,
    InvalidPowerState,
    InvalidState,
    NotFound,
    ProductError,
)
from protocol.messages.host import HostDecryptVm, HostRecryptVm, QueryVmConfig, VmSummary
from protocol.messages.vcenter import DecryptVm, RecryptVm, VmDecrypted, VmRecrypted
from protocol.terms import CryptoKeyId, PowerState, ProviderId
from services.vcenter import events
from services.vcenter.authorization.roles import TaskCaller
from services.vcenter.client_info import stream_policy
from services.vcenter.hosts.session import HostSession
from services.vcenter.inventory import Edit, change_vm, put
from services.vcenter.keys.grants import end_grants
from services.vcenter.removals import cancel_releases, release_keys
from services.vcenter.tables import DatabaseTable, OperationKind, OperationRow, VmRow
from services.vcenter.tasks.encrypt import find_operation, give_key, give_up
from services.vcenter.tasks.snapshots import check_no_snapshots
from services.vcenter.vcenter import VCenter


async def recrypt_vm(vc: VCenter, message: RecryptVm, caller: TaskCaller) -> VmRecrypted:
    """See the module. ``EncryptionKeyRequired`` for a locked VM (REK-05)."""
    before = await find_operation(vc, message.operation_id, OperationKind.RECRYPT_VM, message.vm)
    row = vc.vm(message.vm)
    if before is not None and _is_done(row, before):
        drafts = [] if before.ended else [_recrypt_event(row, before.old, row.keys)]
        leaving = _leaving(vc, row, before.old, row.keys)
        await vc.inventory.commit(*leaving, *_end_operation(before), events=drafts)
        return VmRecrypted(vm=vc.vm_info(row.name), key=_key_of(row, before), old=before.old)
    _check(row, deep=message.deep)
    session = vc.sessions.usable(row.host)
    row = await _with_its_keys(vc, session, row)
    if before is None and message.disk is not None:
        await _check_disk(session, row, message.disk)
    if before is not None and not row.recrypting and row.keys != before.old:
        raise InvalidState(f"{row.name} has come under {row.keys[0]} meanwhile: recrypt it anew")
    operation = before or OperationRow(
        name=message.operation_id,
        kind=OperationKind.RECRYPT_VM,
        subject=message.vm,
        provider=vc.provider_for(message.provider, row.cluster),
        old=row.keys,
    )
    provider = operation.provider or ProviderId("")
    made = () if operation.key is None else (operation.key,)
    try:
        await vc.inventory.commit(*cancel_releases(made))
        given = await give_key(vc, session, operation, caller=caller)
        await vc.inventory.commit(change_vm(row.name, recrypting=True))
        command = HostRecryptVm(
            vm=row.name,
            old=operation.old,
            provider=provider,
            key=given.key,
            deep=message.deep,
            disk=message.disk,
        )
    except ProductError as error:
        await vc.inventory.commit(events=[_failure_event(row, error)])
        raise
    vm = await _command_host(vc, session, row, command, (given.key,) if given.key else ())
    keys = given.keys_of(vm) if message.disk is None else vm.keys
    operation = msgspec.structs.replace(operation, key=given.key)
    await _record(vc, row, operation.old, keys, operation)
    given.look_after_the_others(vc, session)
    key = given.key or _key_of(vc.vm(row.name), operation)
    return VmRecrypted(vm=vc.vm_info(row.name), key=key, old=operation.old)


def _is_done(row: VmRow, before: OperationRow) -> bool:
    """Whether that operation has ended, or the VM's host has reported its keys."""
    if before.ended:
        return bool(row.keys)
    if row.recrypting or row.keys == before.old:
        return False
    if before.key is not None:
        return before.key in row.keys
    return any(k.provider_id == before.provider and k not in before.old for k in row.keys)


def _key_of(row: VmRow, operation: OperationRow) -> CryptoKeyId:
    """The key under which the operation has brought the VM, or a disk of it; its first key if a
    later operation has replaced that."""
    if operation.key in row.keys:
        return operation.key
    new = (key for key in row.keys if key not in operation.old)
    return next(new, row.keys[0])


def _end_operation(operation: OperationRow) -> tuple[Edit, ...]:
    """Record the end: a repeat gets this outcome, whatever happens later."""
    done = msgspec.structs.replace(operation, ended=True)
    return () if operation.ended else (put(DatabaseTable.OPERATION, done.name, done),)


async def decrypt_vm(vc: VCenter, message: DecryptVm) -> VmDecrypted:
    """The keys of the decrypted VM are released; a repeat is no change."""
    row = vc.vm(message.vm)
    session = vc.sessions.usable(row.host)
    if row.keys or row.recrypting:
        _check(row, deep=True)
        row = await _with_its_keys(vc, session, row)
        await vc.inventory.commit(change_vm(row.name, recrypting=True))
        await _command_host(vc, session, row, HostDecryptVm(vm=row.name), ())
        await _record(vc, row, row.keys, ())
    return VmDecrypted(vm=vc.vm_info(row.name))


def _check(row: VmRow, *, deep: bool) -> None:
    if not row.keys:
        raise InvalidState(f"{row.name} is not encrypted")
    if deep and row.power is not PowerState.OFF:
        raise InvalidPowerState(f"{row.name} is {row.power.value}; power it off: its data changes")
    if deep:
        check_no_snapshots(row, "change its data")


async def _check_disk(session: HostSession, row: VmRow, number: int) -> None:
    config = await session.ask(QueryVmConfig(vm=row.name))
    disk = next((disk for disk in config.disks if disk.disk == number), None)
    if disk is None:
        raise NotFound(f"{row.name} has no Hard disk {number}")
    if disk.key is None:
        raise InvalidState(f"Hard disk {number} of {row.name} is not encrypted")


async def _with_its_keys(vc: VCenter, session: HostSession, row: VmRow) -> VmRow:
    """Step 1; a VM that stays locked is refused, with its keys named (REK-05)."""
    await vc.remediation.restore(session, row.name, may_unlock=vc.node.knobs.auto_unlock)
    row = vc.vm(row.name)
    if row.lock_event is not None and row.power is PowerState.OFF:
        missing = ", ".join(str(key) for key in row.missing)
        error = EncryptionKeyRequired(f"{row.name} is locked; missing: {missing}", row.missing)
        await vc.inventory.commit(events=[_failure_event(row, error)])
        raise error
    return row


async def _command_host(
    vc: VCenter,
    session: HostSession,
    row: VmRow,
    command: HostRecryptVm | HostDecryptVm,
    new: tuple[CryptoKeyId, ...],
) -> VmSummary:
    """Step 4. A definite failure is undone; after an indefinite one the host's report of its VM, or
    a repeat, decides."""
    try:
        return await session.command_vm(command)
    except ProductError as error:
        edits = [change_vm(row.name, recrypting=False)] if error.definite else []
        await vc.inventory.commit(*edits, events=[_failure_event(row, error)])
        if error.definite and new:
            await give_up(vc, row.cluster, new, vm=row.name)
        raise


async def _record(
    vc: VCenter,
    row: VmRow,
    old: tuple[CryptoKeyId, ...],
    new: tuple[CryptoKeyId, ...],
    operation: OperationRow | None = None,
) -> None:
    """Step 5."""
    drafts = [_recrypt_event(row, old, new)]
    if len(new) > 1:
        drafts.append(events.diskchain_using_mixed_keys(row.name, row.host, new))
    await vc.inventory.commit(
        change_vm(row.name, keys=new, recrypting=False, migrate_encryption=stream_policy(row)),
        *cancel_releases(new),
        *_leaving(vc, row, old, new),
        *(() if operation is None else _end_operation(operation)),
        events=drafts,
    )
    vc.sharing.withdraw([key for key in old if key not in new])
    for host in vc.inventory.hosts_of(row.cluster):
        vc.gathered.want(host.name)


def _recrypt_event(
    row: VmRow, old: tuple[CryptoKeyId, ...], new: tuple[CryptoKeyId, ...]
) -> events.EventDraft:
    return events.vm_recrypted(row.name, row.host, old, new)


def _leaving(
    vc: VCenter, row: VmRow, old: tuple[CryptoKeyId, ...], new: tuple[CryptoKeyId, ...]
) -> tuple[Edit, ...]:
    """The old keys that leave the hosts of the cluster: those that no other VM uses."""
    hosts = [host.name for host in vc.inventory.hosts_of(row.cluster)]
    gone = [key for key in old if key not in new]
    return (*release_keys(gone, hosts), *end_grants(row.name, gone))


def _failure_event(row: VmRow, error: ProductError) -> events.EventDraft:
    """REK-04: for lack of space, or for another reason."""
    full = isinstance(error, DatastoreFault) and "space" in str(error).lower()
    return events.recrypt_failed(row.name, row.host, str(error), no_space=full)
