"""The end of a move to another vCenter, at the vCenter that has the VM (MOB-07): it has left, it
stays, or that is unknown yet. ``relocate`` begins the move.

The VM belongs to the vCenter where it is registered. Its present host is asked in the VM's turn,
after all earlier commands, so that no late command can undo its answer.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from protocol.errors import (
    AlreadyExists,
    EncryptionKeyRequired,
    InvalidState,
    ProductError,
    TimedOut,
)
from protocol.events import EventTypeId
from protocol.messages.base import Request
from protocol.messages.host.session import VmSummary
from protocol.messages.host.vms import HostEndMigration, HostRegisterVm, HostUnregisterVm
from protocol.messages.vcenter.vms import EndRelocation, RelocationEnded
from protocol.terms import PowerState, VmName
from services.vcenter.events import EventDraft
from services.vcenter.hosts.session import HostSession
from services.vcenter.inventory import Edit, drop, put
from services.vcenter.key_use import end_grants, release_keys
from services.vcenter.tables import DatabaseTable, Relocation, RelocationRow, VmRow
from services.vcenter.vcenter import VCenter

R = TypeVar("R")

REQUESTS: Final = 4  # requests that another vCenter may make before it answers


def carry_over(before: RelocationRow | None, row: RelocationRow) -> RelocationRow:
    """That row, with what it takes over from an earlier one."""
    if before is None:
        return row
    came = dict(before.came)
    if before.state is Relocation.ARRIVED:
        came[before.peer] = before.migration
    decided = before if before.happened else before.before
    return msgspec.structs.replace(row, came=tuple(came.items()), before=decided)


def undone(row: RelocationRow) -> Edit:
    """The row after a failed move: the one known before."""
    before = row.before
    return (
        drop(DatabaseTable.RELOCATION, row.name)
        if before is None
        else put(DatabaseTable.RELOCATION, row.name, before)
    )


async def settle(
    vc: VCenter,
    leaving: RelocationRow,
    *,
    departed: bool | None = None,
    failure: ProductError | None = None,
) -> RelocationEnded:
    """Steps 4 and 5, or the VM stays, because of ``failure`` if that is known. ``departed``: known
    already.

    ``TimedOut``, and the move is left open: the other vCenter, or the host that had the VM, does
    not answer now. Runs in the VM's turn.
    """
    surely_here = False
    if departed is None:
        departed, surely_here = await _has_departed(vc, leaving)
    try:
        ended = await end_at_peer(vc, leaving, departed=departed)
    except ProductError as error:
        # The host's report from before the other vCenter was asked is outdated.
        if not surely_here or not (await _has_departed(vc, leaving))[1]:
            raise TimedOut(
                f"{leaving.peer} does not say whether it has {leaving.name}: {error}"
            ) from None
        await _stay(vc, leaving, failure, informed=False)
        return RelocationEnded(arrived=False)
    if ended.arrived is None:
        raise TimedOut(f"{leaving.host} does not say whether it has {leaving.name} still")
    if ended.arrived:
        await _leave(vc, leaving)
    else:
        await _stay(vc, leaving, failure, departed=departed is True)
    return ended


async def _stay(
    vc: VCenter,
    leaving: RelocationRow,
    failure: ProductError | None,
    *,
    departed: bool = False,
    informed: bool = True,
) -> None:
    """The VM has not left. If it was released, and the other vCenter does not know it, it is
    registered where it was before the move counts as over; a host that refuses leaves it orphaned.
    ``informed``: the other vCenter knows; otherwise that remains to be done."""
    state: VmSummary | None = None
    if departed:
        try:
            state = await vc.sessions.usable(leaving.host).command_vm(
                HostRegisterVm(vm=leaving.name)
            )
        except ProductError as error:
            if not error.definite or vc.sessions.find_connected(leaving.host) is None:
                raise TimedOut(f"{leaving.host} does not take {leaving.name} back: {error}") from (
                    None
                )
            vc.node.record("vm.untidy", level="warning", vm=leaving.name, reason=str(error))
    why = failure or f"{leaving.peer} does not have it"
    stayed = put(
        DatabaseTable.RELOCATION,
        leaving.name,
        msgspec.structs.replace(leaving, state=Relocation.STAYED),
    )
    await vc.inventory.commit(
        undone(leaving) if informed else stayed, events=[not_relocated(leaving, why)]
    )
    if state is not None:
        await vc.sessions.take_in(leaving.host, (state,))


async def cancel_arrival(vc: VCenter, stayed: RelocationRow) -> None:
    """Tell the other vCenter not to expect the VM any more. It may have it by now: the expecting
    host has started it when the host here had failed. Then the VM has left after all.

    ``InvalidState``: it has it, and it also runs here, where it was started since.
    """
    ended = await end_at_peer(vc, stayed, departed=False)
    if not ended.arrived:
        await vc.inventory.commit(undone(stayed))
        return
    row = vc.inventory.vms.get(stayed.name)
    if row is not None and row.power is PowerState.ON and vc.sessions.lists(row.host, row.name):
        raise InvalidState(f"{row.name} runs on {row.host}, and {stayed.peer} has it too")
    await _leave(vc, stayed)


async def _has_departed(vc: VCenter, leaving: RelocationRow) -> tuple[bool | None, bool]:
    """Whether no host of this vCenter has the VM any more; None while that is unknown. And whether
    it is certain, without the other vCenter, that the VM has not left."""
    session = vc.sessions.find_connected(leaving.host)
    reported: VmSummary | None = None
    if session is not None:
        try:
            reported = await _query_source(vc, session, leaving)
        except ProductError:
            session = None
    listing = [one.host for one in vc.sessions.listing(leaving.name)]
    if session is None:
        return (False if any(host != leaving.host for host in listing) else None), False
    if reported is not None:
        return False, reported.power is PowerState.ON or not leaving.running
    row = vc.inventory.vms.get(leaving.name)
    if row is not None and row.host != leaving.host and not listing:
        return None, False  # another host of the cluster had started it, and is away
    return not listing, False


async def _query_source(
    vc: VCenter, session: HostSession, leaving: RelocationRow
) -> VmSummary | None:
    """The VM as its source reports it after all earlier commands; None: not registered there."""
    requested_at = vc.sessions.moment()
    ended = await session.command(HostEndMigration(vm=leaving.name, migration=leaving.migration))
    if ended.summary is None:
        vc.sessions.lists_no_more(session.host, leaving.name)
    else:
        vc.sessions.handle_vm_answer(session, ended.summary, requested_at)
    return ended.summary


async def _leave(vc: VCenter, leaving: RelocationRow) -> None:
    """The other vCenter has the VM. Hosts that still list it drop it, those that are away when they
    are back.

    The VM's row, its keys and the event are one transaction.
    """
    row = vc.inventory.vms.get(leaving.name)
    listing = [one.host for one in vc.sessions.listing(leaving.name)]
    away = [host for host in vc.inventory.hosts if vc.sessions.find_connected(host) is None]
    moving = () if row is None else row.moving
    left = msgspec.structs.replace(
        leaving,
        state=Relocation.LEFT,
        listed_by=tuple(dict.fromkeys((leaving.host, *listing, *moving, *away))),
        before=None,
    )
    if row is None:
        await vc.inventory.commit(put(DatabaseTable.RELOCATION, left.name, left))
        return
    vc.sharing.withdraw(row.keys)
    hosts = [host.name for host in vc.inventory.hosts_of(row.cluster)]
    await vc.inventory.commit(
        put(DatabaseTable.RELOCATION, left.name, left),
        drop(DatabaseTable.VM, row.name),
        *release_keys(row.keys, hosts),
        *end_grants(row.name, row.keys),
        events=[_relocation_event(leaving, row)],
    )
    if row.keys:
        for host in hosts:
            vc.gathered.want(host, removing=True)
    await clear_registrations(vc, left)


async def clear_registrations(vc: VCenter, left: RelocationRow) -> None:
    """Unregister the departed VM from hosts that may list it; hosts that are away follow later."""
    waiting = []
    for host in left.listed_by:
        session = vc.sessions.find_connected(host)
        if session is None or not await _is_cleared(vc, session, left):
            waiting.append(host)
    if tuple(waiting) != left.listed_by:
        done = msgspec.structs.replace(left, listed_by=tuple(waiting))
        await vc.inventory.commit(put(DatabaseTable.RELOCATION, left.name, done))


async def _is_cleared(vc: VCenter, session: HostSession, left: RelocationRow) -> bool:
    try:
        await session.command(HostUnregisterVm(vm=left.name))
    except ProductError as error:
        vc.node.record("vm.untidy", level="warning", vm=left.name, reason=str(error))
        return False
    vc.sessions.lists_no_more(session.host, left.name)
    return True


async def check_not_at_peer(vc: VCenter, vm: VmName) -> None:
    """``AlreadyExists`` if the VM was relocated from here to another vCenter that still has it
    (decision 104). ``InvalidState`` if that vCenter does not answer."""
    left = vc.inventory.relocations.get(vm)
    if left is None or left.state is not Relocation.LEFT:
        return
    try:
        there = (await end_at_peer(vc, left)).vm
    except ProductError as error:
        raise InvalidState(
            f"{vm} was relocated to {left.peer}, which does not say whether it has it: {error}"
        ) from None
    if there is not None:
        raise AlreadyExists(f"{vm} was relocated to {left.peer}, which has it on {there.host}")


async def end_at_peer(
    vc: VCenter, row: RelocationRow, *, departed: bool | None = True
) -> RelocationEnded:
    """The other vCenter's answer on whether the VM has arrived."""
    message = EndRelocation(vm=row.name, migration=row.migration, departed=departed)
    return await ask_peer(vc, row, message)


async def ask_peer(vc: VCenter, row: RelocationRow, message: Request[R]) -> R:
    """The other vCenter's answer, for which it may need requests of its own."""
    within_s = REQUESTS * vc.node.knobs.request_timeout_s
    return await vc.bus.request(row.peer, message, within_s=within_s)


def _relocation_event(leaving: RelocationRow, row: VmRow) -> EventDraft:
    return EventDraft(
        event=EventTypeId.VM_RELOCATED,
        text=f"Virtual machine {row.name} was relocated from {leaving.host} to vCenter "
        f"{leaving.peer}",
        host=leaving.host,
        vm=row.name,
        provider=row.keys[0].provider_id if row.keys else None,
        keys=row.keys,
    )


def not_relocated(leaving: RelocationRow, why: ProductError | str) -> EventDraft:
    """The event of a VM that stays."""
    keys = why.keys if isinstance(why, EncryptionKeyRequired) else ()
    return EventDraft(
        event=EventTypeId.VM_RELOCATE_FAILED,
        text=f"Virtual machine {leaving.name} was not relocated from {leaving.host} to "
        f"vCenter {leaving.peer}: {why}",
        host=leaving.host,
        vm=leaving.name,
        provider=keys[0].provider_id if keys else None,
        keys=tuple(keys),
    )
