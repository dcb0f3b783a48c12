"""A VM that leaves for another vCenter (MOB-07), as the one tells it that has the VM; ``arrive`` is
the other end.

1. that it may leave is recorded, durably   2. the other vCenter judges the VM, brings keys to its
host, records that the VM may come   3. a VM that runs goes from host to host as in ``migrate``; one
that is off leaves the registrations of its host   4. the other vCenter takes it in   5. here it
leaves the inventory, and its keys the hosts of its cluster (STD-17)

Which of the two has the VM is decided by where it is registered, and by that alone: it stays as
long as a host of this side lists it and it runs on none of the other; it has gone when none does.
What is not known then, because somebody is away, is asked for again (``follow``): the VM may show
as orphaned here meanwhile, and nobody else has it.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from protocol.errors import (
    EncryptionKeyRequired,
    InvalidArgument,
    InvalidState,
    NotFound,
    ProductError,
    TimedOut,
)
from protocol.events import EventTypeId
from protocol.messages.base import Request, Sealed
from protocol.messages.host import (
    CheckRelocate,
    HostMigrateVm,
    HostRegisterVm,
    HostUnregisterVm,
    StreamKey,
    VmMigrated,
)
from protocol.messages.vcenter import (
    EndRelocation,
    PrepareRelocation,
    RelocateVm,
    RelocationEnded,
    VmRelocated,
)
from protocol.secret import KeyMaterial
from protocol.terms import MigrateEncryption, NodeName, PowerState
from services.vcenter.client_info import stream_policy
from services.vcenter.events import Draft
from services.vcenter.hosts.session import HostSession
from services.vcenter.inventory import drop, put
from services.vcenter.removals import released
from services.vcenter.tables import Relocation, RelocationRow, Table, VmRow
from services.vcenter.tasks.migrate import new_stream
from services.vcenter.vcenter import VCenter

R = TypeVar("R")

REQUESTS: Final = 4  # that another vCenter may make one after another before it answers


async def relocate_vm(vc: VCenter, message: RelocateVm, user: str) -> VmRelocated:
    """See the module's text; ``user``: who gives the task. Runs in the VM's turn."""
    peer = message.service.vcenter
    if peer == vc.node.name:
        raise InvalidArgument(f"service: {peer} has the VM; without a service it moves within it")
    if peer not in vc.config.vcenters:
        raise NotFound(f"there is no vCenter {peer}")
    before = vc.inventory.relocations.get(message.vm)
    if before is not None and before.state in (Relocation.LEAVING, Relocation.LEFT):
        ended = await settle(vc, before) if before.pending else await _ended(vc, before)
        if message.vm not in vc.inventory.vms and before.peer == peer and ended.vm is not None:
            return VmRelocated(vm=ended.vm)
    row = vc.vm(message.vm)
    source = vc.sessions.usable(row.host)
    if not vc.sessions.lists(row.host, row.name):
        raise InvalidState(f"{row.name} is orphaned: {row.host} does not list it any more")
    where = await source.ask(CheckRelocate(vm=row.name))
    stream, key = new_stream(vc, row) if row.power is PowerState.ON else (None, None)
    leaving = RelocationRow(
        name=row.name,
        migration=vc.next_migration(),
        peer=peer,
        host=row.host,
        state=Relocation.LEAVING,
        running=row.power is PowerState.ON,
    )
    prepare = PrepareRelocation(
        vm=row.name,
        migration=leaving.migration,
        user=message.service.user or user,
        host=message.host,
        source=row.host,
        datastore=where.datastore,
        running=leaving.running,
        keys=row.keys,
        migrate_encryption=row.migrate_encryption,
        stream=stream,
        material=None if key is None else Sealed.of(key),
    )
    await vc.inventory.commit(put(Table.RELOCATION, row.name, leaving))
    await _have_it_prepared(vc, leaving, prepare)
    failure, done = await _let_go(vc, source, leaving, message, stream, key)
    ended = await settle(vc, leaving, departed=True if failure is None else None)
    if ended.vm is None:
        raise failure or InvalidState(f"{peer} does not have {row.name}, and did not say why")
    return VmRelocated(
        vm=ended.vm,
        gap_s=None if done is None else done.gap_s,
        size=None if done is None else done.size,
        encrypted=_was_encrypted(row) if leaving.running else None,
    )


def _was_encrypted(row: VmRow) -> bool:
    return stream_policy(row) is not MigrateEncryption.DISABLED


async def _have_it_prepared(
    vc: VCenter, leaving: RelocationRow, prepare: PrepareRelocation
) -> None:
    """Step 2. A refusal leaves nothing at either end but its event here."""
    try:
        await _ask(vc, leaving, prepare)
    except ProductError as error:
        if error.definite:
            await vc.inventory.commit(
                drop(Table.RELOCATION, leaving.name), events=[_failed(leaving, prepare, error)]
            )
            raise
        await settle(vc, leaving)  # it may have prepared itself: the VM has not left
        raise


async def _let_go(
    vc: VCenter,
    source: HostSession,
    leaving: RelocationRow,
    message: RelocateVm,
    stream: StreamKey | None,
    key: KeyMaterial | None,
) -> tuple[ProductError | None, VmMigrated | None]:
    """Step 3. An error says nothing of the outcome: hosts are asked for that."""
    try:
        done = None
        if leaving.running:
            done = await source.command(
                HostMigrateVm(
                    vm=leaving.name,
                    migration=leaving.migration,
                    target=message.host,
                    stream=stream,
                    material=None if key is None else Sealed.of(key),
                )
            )
        else:
            await source.command(HostUnregisterVm(vm=leaving.name))
    except ProductError as error:
        return error, None
    vc.sessions.lists_no_more(source.host, leaving.name)
    return None, done


async def settle(
    vc: VCenter, leaving: RelocationRow, *, departed: bool | None = None
) -> RelocationEnded:
    """Steps 4 and 5, or the VM stays. ``departed``: that is known already.

    ``TimedOut``, and the move is left open: the other vCenter, or the host that had the VM, does
    not answer now. In the VM's turn.
    """
    if departed is None:
        departed = await _has_departed(vc, leaving)
    try:
        ended = await _ended(vc, leaving, departed=departed)
    except ProductError as error:
        raise TimedOut(
            f"{leaving.peer} does not say whether it has {leaving.name}: {error}"
        ) from None
    if ended.arrived is None:
        raise TimedOut(f"{leaving.host} does not say whether it has {leaving.name} still")
    if ended.arrived:
        await _leave(vc, leaving)
    else:
        await _stay(vc, leaving, departed=departed is True)
    return ended


async def _stay(vc: VCenter, leaving: RelocationRow, *, departed: bool) -> None:
    """It has not gone. One that was let go of, and that the other vCenter knows nothing of, is
    registered where it was: a host that refuses leaves it orphaned."""
    await vc.inventory.commit(drop(Table.RELOCATION, leaving.name))
    session = vc.sessions.connected_to(leaving.host)
    if not departed or session is None:
        return
    try:
        state = await session.command_vm(HostRegisterVm(vm=leaving.name))
    except ProductError as error:
        vc.node.record("vm.untidy", level="warning", vm=leaving.name, reason=str(error))
    else:
        await vc.sessions.take_in(session.host, (state,))


async def _has_departed(vc: VCenter, leaving: RelocationRow) -> bool | None:
    """Whether no host of this vCenter has the VM any more; None while that cannot be known. What
    the host that it leaves said before it was asked now is of the past."""
    session = vc.sessions.connected_to(leaving.host)
    if session is not None:
        try:
            await session.look()
        except ProductError:
            session = None
    listing = [one.host for one in vc.sessions.listing(leaving.name)]
    if session is None:
        return False if any(host != leaving.host for host in listing) else None
    row = vc.inventory.vms.get(leaving.name)
    if row is not None and row.host != leaving.host and not listing:
        return None  # another host of the cluster had started it, and is away
    return not listing


async def _leave(vc: VCenter, leaving: RelocationRow) -> None:
    """The other vCenter has it. A host that is away may list it still: it is told when it is back.

    The VM's row, its keys and the event are one transaction.
    """
    left = msgspec.structs.replace(leaving, state=Relocation.LEFT)
    row = vc.inventory.vms.get(leaving.name)
    if row is None:
        await vc.inventory.commit(put(Table.RELOCATION, left.name, left))
        return
    vc.sharing.withdraw(row.keys)
    hosts = [host.name for host in vc.inventory.hosts_of(row.cluster)]
    await vc.inventory.commit(
        put(Table.RELOCATION, left.name, left),
        drop(Table.VM, row.name),
        *released(row.keys, hosts),
        events=[_relocated(leaving, row)],
    )
    if row.keys:
        for host in hosts:
            vc.gathered.want(host, removing=True)
    await clear_registration(vc, left)


async def clear_registration(vc: VCenter, left: RelocationRow) -> None:
    """The host that a VM has left shall not list it any more; one that is away is told later."""
    session = vc.sessions.connected_to(left.host)
    if session is None or not left.host:
        return
    try:
        await session.command(HostUnregisterVm(vm=left.name))
    except ProductError as error:
        vc.node.record("vm.untidy", level="warning", vm=left.name, reason=str(error))
        return
    vc.sessions.lists_no_more(left.host, left.name)
    done = msgspec.structs.replace(left, host=NodeName(""))
    await vc.inventory.commit(put(Table.RELOCATION, left.name, done))


async def _ended(
    vc: VCenter, row: RelocationRow, *, departed: bool | None = True
) -> RelocationEnded:
    return await _ask(
        vc, row, EndRelocation(vm=row.name, migration=row.migration, departed=departed)
    )


async def _ask(vc: VCenter, row: RelocationRow, message: Request[R]) -> R:
    within_s = REQUESTS * vc.node.knobs.request_timeout_s
    return await vc.bus.request(row.peer, message, within_s=within_s)


def _relocated(leaving: RelocationRow, row: VmRow) -> Draft:
    return Draft(
        event=EventTypeId.VM_RELOCATED,
        text=f"Virtual machine {row.name} was relocated from {leaving.host} to vCenter "
        f"{leaving.peer}",
        host=leaving.host,
        vm=row.name,
        provider=row.keys[0].provider_id if row.keys else None,
        keys=row.keys,
    )


def _failed(leaving: RelocationRow, prepare: PrepareRelocation, error: ProductError) -> Draft:
    keys = error.keys if isinstance(error, EncryptionKeyRequired) else ()
    return Draft(
        event=EventTypeId.VM_RELOCATE_FAILED,
        text=f"Virtual machine {leaving.name} was not relocated from {leaving.host} to "
        f"{prepare.host} of vCenter {leaving.peer}: {error}",
        host=leaving.host,
        vm=leaving.name,
        provider=keys[0].provider_id if keys else None,
        keys=tuple(keys),
    )
