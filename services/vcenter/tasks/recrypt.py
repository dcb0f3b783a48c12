"""Other keys for an encrypted VM: RecryptVm (shallow or deep) and DecryptVm. In the VM's turn.

1. the keys that the VM is under are brought to its host, if they can be had (REK-01)
2. a new key is made and given as in ``encrypt``; it may be of another provider
3. the row says that the VM's keys are changing, so that what its host reports of them counts
4. the host wraps the DEKs anew, or rewrites the data
5. the new keys are recorded, and those that no VM uses any more leave the hosts (STD-17); nothing
   is deleted at the key server (REK-03)

A failure leaves the old keys in force, and an event tells of it (REK-04). A repeat of the
operation after a crash goes on with the key that was made for it.
"""

from __future__ import annotations

from protocol.errors import (
    DatastoreFault,
    EncryptionKeyRequired,
    InvalidPowerState,
    InvalidState,
    ProductError,
)
from protocol.messages.host import HostDecryptVm, HostRecryptVm, VmSummary
from protocol.messages.vcenter import DecryptVm, RecryptVm, VmDecrypted, VmRecrypted
from protocol.terms import CryptoKeyId, PowerState, ProviderId
from services.vcenter import events
from services.vcenter.authorization.roles import Caller
from services.vcenter.client_info import stream_policy
from services.vcenter.hosts.session import HostSession
from services.vcenter.inventory import Edit, change_vm
from services.vcenter.removals import released, used_again
from services.vcenter.tables import OperationKind, OperationRow, VmRow
from services.vcenter.tasks.encrypt import give_key, give_up, recorded
from services.vcenter.tasks.snapshots import check_no_snapshots
from services.vcenter.vcenter import VCenter


async def recrypt_vm(vc: VCenter, message: RecryptVm, caller: Caller) -> VmRecrypted:
    """See the module's text. ``EncryptionKeyRequired`` of a locked VM (REK-05)."""
    before = await recorded(vc, message.operation_id, OperationKind.RECRYPT_VM, message.vm)
    row = vc.vm(message.vm)
    if before is not None and row.keys and row.keys != before.old and not row.recrypting:
        await vc.inventory.commit(*_leaving(vc, row, before.old, row.keys))
        return VmRecrypted(vm=vc.vm_info(row.name), key=row.keys[0], old=before.old)
    _check(row, deep=message.deep)
    session = vc.sessions.usable(row.host)
    row = await _with_its_keys(vc, session, row)
    operation = before or OperationRow(
        name=message.operation_id,
        kind=OperationKind.RECRYPT_VM,
        subject=message.vm,
        provider=vc.provider_for(message.provider, row.cluster),
        old=row.keys,
    )
    provider = operation.provider or ProviderId("")
    try:
        given = await give_key(vc, session, operation, caller=caller)
        await vc.inventory.commit(change_vm(row.name, recrypting=True))
        command = HostRecryptVm(
            vm=row.name, old=operation.old, provider=provider, key=given.key, deep=message.deep
        )
    except ProductError as error:
        await vc.inventory.commit(events=[_failed(row, error)])
        raise
    vm = await _commanded(vc, session, row, command, (given.key,) if given.key else ())
    keys = given.keys_of(vm)
    await _record(vc, row, operation.old, keys)
    given.look_after_the_others(vc, session)
    return VmRecrypted(vm=vc.vm_info(row.name), key=keys[0], old=operation.old)


async def decrypt_vm(vc: VCenter, message: DecryptVm) -> VmDecrypted:
    """Without encryption its keys are nobody's any more; a repeat is no change."""
    row = vc.vm(message.vm)
    session = vc.sessions.usable(row.host)
    if row.keys or row.recrypting:
        _check(row, deep=True)
        row = await _with_its_keys(vc, session, row)
        await vc.inventory.commit(change_vm(row.name, recrypting=True))
        await _commanded(vc, session, row, HostDecryptVm(vm=row.name), ())
        await _record(vc, row, row.keys, ())
    return VmDecrypted(vm=vc.vm_info(row.name))


def _check(row: VmRow, *, deep: bool) -> None:
    if not row.keys:
        raise InvalidState(f"{row.name} is not encrypted")
    if deep and row.power is not PowerState.OFF:
        raise InvalidPowerState(f"{row.name} is {row.power.value}; power it off: its data changes")
    if deep:
        check_no_snapshots(row, "change its data")


async def _with_its_keys(vc: VCenter, session: HostSession, row: VmRow) -> VmRow:
    """Step 1; a VM that stays locked is refused, its keys named (REK-05)."""
    await vc.remediation.restore(session, row.name, may_unlock=vc.node.knobs.auto_unlock)
    row = vc.vm(row.name)
    if row.lock_event is not None and row.power is PowerState.OFF:
        missing = ", ".join(str(key) for key in row.missing)
        error = EncryptionKeyRequired(f"{row.name} is locked; missing: {missing}", row.missing)
        await vc.inventory.commit(events=[_failed(row, error)])
        raise error
    return row


async def _commanded(
    vc: VCenter,
    session: HostSession,
    row: VmRow,
    command: HostRecryptVm | HostDecryptVm,
    new: tuple[CryptoKeyId, ...],
) -> VmSummary:
    """Step 4. What certainly did not happen is taken back; of what may have, the host's report of
    its VM tells, or a repeat."""
    try:
        return await session.command_vm(command)
    except ProductError as error:
        edits = [change_vm(row.name, recrypting=False)] if error.definite else []
        await vc.inventory.commit(*edits, events=[_failed(row, error)])
        if error.definite and new:
            await give_up(vc, row.cluster, new)
        raise


async def _record(
    vc: VCenter, row: VmRow, old: tuple[CryptoKeyId, ...], new: tuple[CryptoKeyId, ...]
) -> None:
    """Step 5."""
    await vc.inventory.commit(
        change_vm(row.name, keys=new, recrypting=False, migrate_encryption=stream_policy(row)),
        *used_again(new),
        *_leaving(vc, row, old, new),
        events=[events.vm_recrypted(row.name, row.host, old, new)],
    )
    vc.sharing.withdraw([key for key in old if key not in new])
    for host in vc.inventory.hosts_of(row.cluster):
        vc.gathered.want(host.name)


def _leaving(
    vc: VCenter, row: VmRow, old: tuple[CryptoKeyId, ...], new: tuple[CryptoKeyId, ...]
) -> tuple[Edit, ...]:
    """Old keys leave the hosts of the cluster, but for one that another VM uses."""
    hosts = [host.name for host in vc.inventory.hosts_of(row.cluster)]
    return released([key for key in old if key not in new], hosts)


def _failed(row: VmRow, error: ProductError) -> events.Draft:
    """REK-04: for want of room, or for another reason."""
    full = isinstance(error, DatastoreFault) and "space" in str(error).lower()
    return events.recrypt_failed(row.name, row.host, str(error), no_space=full)
