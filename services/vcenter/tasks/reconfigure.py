"""Reconfiguring a VM: disks added and removed, a virtual TPM added and removed (VTPM-02, VTPM-03,
VTPM-04), and other keys (RecryptVm, shallow or deep, and DecryptVm). Each runs in the VM's turn;
new keys are made and delivered as in ``encrypt``, then the host changes the VM.
"""

from __future__ import annotations

from typing import Final

import msgspec

from protocol.authorization import Privilege
from protocol.errors import (
    AlreadyExists,
    DatastoreFault,
    EncryptionKeyRequired,
    InvalidArgument,
    InvalidPowerState,
    InvalidState,
    NotFound,
    ProductError,
)
from protocol.messages.host.session import Command, VmSummary
from protocol.messages.host.vms import (
    DisksOfVm,
    HostAddDisk,
    HostAddVtpm,
    HostDecryptVm,
    HostRecryptVm,
    HostRemoveDisk,
    HostRemoveVtpm,
    HostSetVtpmCertificate,
    QueryVmConfig,
    VmConfigState,
)
from protocol.messages.vcenter.vms import (
    AddDisk,
    AddVtpm,
    DecryptVm,
    RecryptVm,
    RemoveDisk,
    RemoveVtpm,
    VmDecrypted,
    VmDisks,
    VmReconfigured,
    VmRecrypted,
)
from protocol.terms import CryptoKeyId, PowerState, ProviderId
from protocol.tpm.structures import PublicArea
from services.vcenter import events
from services.vcenter.authorization.privileges import TaskCaller
from services.vcenter.client_info import stream_policy
from services.vcenter.hosts.session import HostSession
from services.vcenter.inventory import Edit, change_vm, put
from services.vcenter.key_use import cancel_releases, end_grants, release_keys
from services.vcenter.tables import DatabaseTable, OperationKind, OperationRow, VmRow
from services.vcenter.tasks.encrypt import (
    GivenKey,
    find_operation,
    give_key,
    give_up,
    modes_afterwards,
)
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


LEAST_HARDWARE: Final = 14
"""Virtual hardware version from which a VM may have a vTPM."""


async def add_vtpm(vc: VCenter, message: AddVtpm, caller: TaskCaller) -> VmReconfigured:
    """See the module. Runs in the VM's turn."""
    before = await find_operation(vc, message.operation_id, OperationKind.ADD_VTPM, message.vm)
    row = _require_powered_off(vc.vm(message.vm))
    session = vc.sessions.usable(row.host)
    config = await session.ask(QueryVmConfig(vm=row.name))
    if row.vtpm:
        if before is None:
            raise AlreadyExists(f"{row.name} has a virtual TPM already")
        await certify(vc, session, row, config)
        return VmReconfigured(vm=vc.vm_info(row.name))
    _check_may_have(row, config)
    check_no_snapshots(row, "add a virtual TPM")
    operation = before or OperationRow(
        name=message.operation_id, kind=OperationKind.ADD_VTPM, subject=message.vm
    )
    if config.home_encrypted:
        await vc.remediation.restore(session, row.name, may_unlock=vc.node.knobs.auto_unlock)
        await vc.inventory.commit(put(DatabaseTable.OPERATION, operation.name, operation))
        vm = await session.command_vm(HostAddVtpm(vm=row.name))
        keys, drafts = vm.keys, [events.vtpm_added(row.name, session.host)]
        edits: list[Edit] = []
    else:
        if operation.provider is None:
            provider = vc.provider_for(message.provider, row.cluster)
            operation = msgspec.structs.replace(operation, provider=provider)
        keys, given = await _with_a_key(vc, session, row, operation, caller)
        edits = modes_afterwards(vc, session, caller=caller)
        drafts = [
            events.vm_encrypted(row.name, session.host, keys[0]),
            events.vtpm_added(row.name, session.host),
        ]
        if row.name in vc.inventory.vms:
            given.look_after_the_others(vc, session)
    edits += [change_vm(row.name, keys=keys, vtpm=True), *cancel_releases(keys)]
    await vc.inventory.commit(*edits, events=drafts)
    await certify(vc, session, row, await session.ask(QueryVmConfig(vm=row.name)))
    return VmReconfigured(vm=vc.vm_info(row.name))


async def _with_a_key(
    vc: VCenter, session: HostSession, row: VmRow, operation: OperationRow, caller: TaskCaller
) -> tuple[tuple[CryptoKeyId, ...], GivenKey]:
    """Steps 2 and 3 for an unencrypted home; returns the VM's keys afterwards."""
    if operation.key is not None:
        await vc.inventory.commit(*cancel_releases((operation.key,)))
    given = await give_key(vc, session, operation, caller=caller)
    command = HostAddVtpm(vm=row.name, key=given.key, provider=given.maker)
    try:
        vm = await session.command_vm(command)
    except ProductError as error:
        if error.definite and given.key is not None:
            await give_up(vc, row.cluster, (given.key,), vm=row.name)
        raise
    keys = given.keys_of(vm)
    if row.name not in vc.inventory.vms:  # its host was removed, and the VM with it
        await give_up(vc, row.cluster, keys, vm=None)
    return keys, given


def _require_powered_off(row: VmRow) -> VmRow:
    if row.power is not PowerState.OFF:
        raise InvalidPowerState(f"{row.name} is {row.power.value}; power it off first")
    return row


def _check_may_have(row: VmRow, config: VmConfigState) -> None:
    """The host's check, made here so that no key is created for a VM that it would refuse."""
    if config.firmware != "efi":
        raise InvalidArgument(f"{row.name}: a virtual TPM needs firmware EFI, not BIOS")
    if config.hardware < LEAST_HARDWARE:
        raise InvalidArgument(
            f"{row.name}: a virtual TPM needs hardware version {LEAST_HARDWARE} or later, not "
            f"{config.hardware}"
        )


async def certify(vc: VCenter, session: HostSession, row: VmRow, config: VmConfigState) -> None:
    """Step 4, once: a device with a certificate keeps it (VTPM-04)."""
    if config.certificate:
        return
    try:
        certificate = await vc.vmca.certify(PublicArea(config.ek))
        await session.command(HostSetVtpmCertificate(vm=row.name, certificate=certificate))
    except (OSError, ProductError) as error:
        failed = events.vtpm_certificates_failed(row.name, session.host, str(error))
        await vc.inventory.commit(events=[failed])


async def remove_vtpm(vc: VCenter, message: RemoveVtpm, caller: TaskCaller) -> VmReconfigured:
    """VTPM-03. Runs in the VM's turn."""
    row = _require_powered_off(vc.vm(message.vm))
    if row.vtpm:
        session = vc.sessions.usable(row.host)
        config = await session.ask(QueryVmConfig(vm=row.name))
        if config.home_encrypted and not config.disks_encrypted:
            caller.check(
                (Privilege.DECRYPT,), f"RemoveVtpm, which decrypts the home of {row.name},"
            )
        await vc.remediation.restore(session, row.name, may_unlock=vc.node.knobs.auto_unlock)
        vm = await session.command_vm(HostRemoveVtpm(vm=row.name))
        gone = tuple(key for key in row.keys if key not in vm.keys)
        hosts = [host.name for host in vc.inventory.hosts_of(row.cluster)]
        vc.sharing.withdraw(gone)
        await vc.inventory.commit(
            change_vm(
                row.name,
                keys=vm.keys,
                vtpm=False,
                lock_event=None,
                missing=(),
                migrate_encryption=stream_policy(row),
            )
            if gone
            else change_vm(row.name, vtpm=False),
            *release_keys(gone, hosts),
            *end_grants(row.name, gone),
            events=[events.vtpm_removed(row.name, session.host)],
        )
        for host in hosts if gone else ():
            vc.gathered.want(host, removing=True)
    return VmReconfigured(vm=vc.vm_info(row.name))


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
