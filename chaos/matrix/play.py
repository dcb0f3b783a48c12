"""A staging from its healthy lab to the verdict of each event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from chaos.administration import back_up
from chaos.errors import ChaosError
from chaos.lab import REFUSALS
from chaos.matrix import clock, provider_setup, setup
from chaos.matrix.events import EVENTS, EventPlay, LockingPlay, play_of
from chaos.matrix.faults import ReturningVcenter, StagedFault, fault_of, until_healed
from chaos.matrix.judging.account import Account, KeyRequest, Witness, requests_on_bus
from chaos.matrix.judging.event_order import wrong_order, wrongly_told
from chaos.matrix.judging.witness import witnesses
from chaos.matrix.looks import plain
from chaos.matrix.scene import BACKUP, SERVERS_OF_P, StagingScene, Void
from chaos.matrix.stored import find_exposed
from chaos.matrix.twists import TWISTS
from chaos.observe.look import all_events
from chaos.oracle.terms import TableEvent
from protocol.errors import ProductError
from protocol.events import EventTypeId
from protocol.terms import NodeName
from services.runtime.each import for_each

LETTERS: Final = "letters"
"""The records in which letters are written down: when the events are over, and, as they stand then,
when the fault is."""


class PlayedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it was played: its letter, and the records that show it.

    ``void``: why it says nothing. ``unhealed``: why nothing is known of its aftermath, when its
    letter was fixed before that. ``disturbed``: what was not undisturbed again in the aftermath.
    ``order``: what vCenter told otherwise, or in another order, than is fixed. ``exposed``: where
    something of its VMs or hosts that is encrypted was found in clear. ``odd``: what was not as the
    row outside of the grid says.
    """

    event: TableEvent
    letter: str = ""
    why: str = ""
    void: str = ""
    unhealed: str = ""
    disturbed: str = ""
    parts: dict[str, bool | int | str] = {}
    witnesses: tuple[Witness, ...] = ()
    order: str = ""
    exposed: str = ""
    odd: str = ""
    records: tuple[int, ...] = ()


async def stage(scene: StagingScene, events: Sequence[TableEvent]) -> None:
    """Everything before the fault; the lab stands just after a reconcile pass then."""
    kinds = [EVENTS[event] for event in events]
    await setup.make_vms(scene, kinds)
    await setup.write_dumps(scene, kinds)
    for kind in kinds:
        await kind.make_ready(scene)
    if scene.native:
        await provider_setup.keep_kdks(scene)
    else:
        await back_up(scene.lab, SERVERS_OF_P, BACKUP)
    await setup.wait_until_healthy(scene, kinds)


async def play(scene: StagingScene, events: Sequence[TableEvent]) -> tuple[PlayedEvent, ...]:
    """Play these events under the scene's fault, from a lab that was staged."""
    twist = TWISTS[scene.twist]
    fault = twist.fault(scene) or fault_of(scene)
    plays = [play_of(event, scene, fault) for event in events]
    voids: dict[TableEvent, str] = {}
    try:
        if await fault.prepare():
            await setup.hosts_settle(scene, scene.hosts(), clock.SETTLED_S)
            kinds = [type(one) for one in plays]
            if scene.keyed_by_use:  # what hosts had derived before they were booted for it
                await setup.wait_for_pass(scene)
                await setup.use_keys(scene, kinds)
            await setup.wait_until_healthy(scene, kinds)
        if scene.twist:
            scene.odd = await twist.prepare(scene)
            await setup.wait_for_pass(scene)
        if any([await one.ready() for one in plays]):
            await setup.wait_for_pass(scene)
        await _begin(scene, fault, plays)
        await for_each(plays, lambda one: _one(one, voids))
        _write_letters(scene, plays)
        scene.odd = scene.odd or await twist.find_deviation(scene)
    except (Void, ChaosError, *REFUSALS) as error:
        whole = _why(error)
        scene.book.write("note", "", "void", why=whole)
        return tuple(_build_played(one, whole) for one in plays)
    await scene.trails.follow()
    told = await _end_fault(scene, fault, plays)
    await scene.trails.follow()
    _write_letters(scene, plays)  # a vCenter that was away has said its part by now
    if told:
        found = await find_exposed(scene)
        return tuple(
            msgspec.structs.replace(
                _build_played(one, voids.get(one.event, "")), exposed=_of(one, found), **told
            )
            for one in plays
        )
    scene.alarmed = await _fetch_alarmed_hosts(scene)
    disturbed = {one.event: await _aftermath(one) or fault.wrong for one in plays}
    orders = {one.event: await _order(one) for one in plays}
    found = await find_exposed(scene)
    return tuple(
        msgspec.structs.replace(
            _build_played(one, voids.get(one.event, "")),
            disturbed=disturbed[one.event],
            order=orders[one.event],
            exposed=_of(one, found),
        )
        for one in plays
    )


async def _begin(scene: StagingScene, fault: StagedFault, plays: Sequence[EventPlay]) -> None:
    """From the end of a pass to just before the events: the key taken, the fault made and seen."""
    lab = scene.lab
    passed = lab.monotonic()
    await lab.sleep(clock.PREPARE_S)
    for one in plays:
        await setup.take_key(scene, one)
    await provider_setup.chill(scene)
    scene.t0 = passed + clock.FAULT_S
    await scene.until(0.0)
    scene.book.write("note", "", "t0", at=scene.t0, fault=scene.fault.value)
    await fault.begin()
    if fault.of_a_host:
        for one in plays:
            if one.latent is not None:
                await fault.make_latent(one.host(one.latent))
    if wrong := await fault.bites():
        raise Void(f"{scene.fault} does not bite: {wrong}")
    scene.book.write("note", "", "bites", fault=scene.fault.value)
    scene.late = max(0.0, scene.since() - (scene.begins_at - 1.0))
    if scene.late > scene.patience:
        raise Void(f"it took {scene.since():.0f} s until {scene.fault} was seen to bite")
    await scene.until(scene.begins_at - 1.0)
    for one in plays:
        await setup.lacks_key(scene, one)
    await provider_setup.check_cold(scene)


async def _one(one: EventPlay, voids: dict[TableEvent, str]) -> None:
    try:
        if one.waits_for_b(one.scene.block, one.scene.fault):
            await one.scene.b_is_up.wait()
            if failed := voids.get(TableEvent.E2):
                raise Void(f"no host has booted under the fault: {failed}")
        one.judged = await one.play(one.scene.begins_at)
        one.went = one.course()
    except (Void, ChaosError, *REFUSALS) as error:
        voids[one.event] = _why(error)
    finally:
        if one.event is TableEvent.E2:
            one.scene.b_is_up.set()  # who waits for it must not wait for ever


def _write_letters(scene: StagingScene, plays: Sequence[EventPlay]) -> None:
    letters = {one.event.value: one.judged.letter for one in plays if one.judged is not None}
    scene.book.write("note", "", LETTERS, **letters)


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, Void) else f"{type(error).__name__}: {error}"


async def _end_fault(
    scene: StagingScene, fault: StagedFault, plays: Sequence[EventPlay]
) -> dict[str, str]:
    """End the fault; empty when it is seen to be over. What the product refused of an
    administrator's steps is ``disturbed``, its own doing; all else that failed is ``unhealed``."""
    try:
        await _end(scene, fault, plays)
    except (Void, ChaosError, *REFUSALS) as error:
        why = _why(error)
        cause = error.__cause__ if isinstance(error, ChaosError) else error
        refused = isinstance(cause, ProductError) and cause.definite
        scene.book.write("note", "", "void", why=why)
        return {"disturbed" if refused else "unhealed": why}
    return {}


async def _end(scene: StagingScene, fault: StagedFault, plays: Sequence[EventPlay]) -> None:
    """All letters are fixed, but those of VMs that only vCenter can say to be locked."""
    for one in plays:
        one.unmended = await one.administer()
    for one in plays if fault.restores_keys else ():
        await one.clear_away()
    is_open = any(isinstance(one, LockingPlay) and one.is_open for one in plays)
    if isinstance(fault, ReturningVcenter) and is_open:
        await fault.return_shut()
        await scene.give(clock.FIRST_SIGHT_S)
        for one in plays:
            await one.first_sight()
        await fault.open()
        await setup.hosts_settle(scene, (), clock.SETTLED_S)
        for one in plays:
            await one.relief()
    else:
        await fault.end()
    if wrong := await until_healed(fault):
        raise Void(f"{scene.fault} is not over: {wrong}")
    scene.book.write("heal", "", "healed", fault=scene.fault.value)
    await setup.hosts_settle(scene, await setup.running_hosts(scene), clock.SETTLED_S)


async def _fetch_alarmed_hosts(scene: StagingScene) -> frozenset[NodeName]:
    """Hosts of which vCenter has told, since the fault began, that their TPM tells otherwise."""
    events = await all_events(scene.lab, scene.vcenter, after=scene.first_event)
    return frozenset(
        one.host
        for one in events
        if one.event is EventTypeId.HOST_TPM_ATTESTATION_FAILED and one.host is not None
    )


async def _aftermath(one: EventPlay) -> str:
    if one.judged is None:
        return ""
    try:
        return one.unmended or TWISTS[one.scene.twist].over(await one.aftermath())
    except REFUSALS as error:
        return f"{type(error).__name__}: {error}"


async def _order(one: EventPlay) -> str:
    """Whether vCenter told what this letter needs, in the order that is fixed, if one is."""
    if one.judged is None:
        return ""
    scene, told = one.scene, await one.looks.events()
    vm, host = one.subject
    block, fault = scene.cell_of(one.event).block, scene.cell_of(one.event).fault
    place = (block, fault, one.event)
    wrong = wrongly_told(block, fault, one.judged.letter, told, vm, host)
    ordered = TWISTS[scene.twist].in_order
    return wrong or (wrong_order(place, told, vm, host) if ordered else "")


def find_witnesses(one: EventPlay) -> tuple[Witness, ...]:
    """The witnesses of the reasons that the table names: looked for when the letter is fixed."""
    scene = one.scene
    if one.judged is None or one.went is None or one.subject[0] in scene.clear:
        return ()  # no key has a part in a VM without encryption
    course = one.went
    began, ended = course.began, course.ended
    said = tuple(scene.heard.of(course.host, began, ended))
    about = Account(
        course=course,
        letter=one.judged.letter,
        said=said,
        asked=_requests_by(scene, scene.vcenter, began, ended),
        asked_by_host=_requests_by(scene, course.host, began, ended),
        unread=scene.trails.unread,
        records=tuple(
            line
            for line in scene.bench.records()
            if line.node == course.host and began <= line.at <= ended
        ),
        servers=frozenset(scene.servers),
        trust=frozenset((*scene.attesters, *scene.key_services)),
        alarmed=course.host in one.scene.alarmed,
        earlier=tuple(scene.heard.of(course.host, scene.t0, began)),
    )
    found = witnesses(scene.cell_of(one.event).reasons, about)
    for witness in found:
        one.trail.write("probe", course.host, "witness", **plain(witness))
    return found


def _requests_by(
    scene: StagingScene, node: NodeName, since: float, until: float
) -> tuple[KeyRequest, ...]:
    """What the node has asked key servers for in this time, by whichever transport."""
    said = [
        one for one in scene.heard.of(node, since, until) if {one.src, one.dst} & {*scene.servers}
    ]
    return (*requests_on_bus(said, scene.servers), *scene.trails.requests_by(node, since, until))


def _of(one: EventPlay, found: Mapping[str, str]) -> str:
    """What was found in clear of the VMs and hosts of this event."""
    mine = {*one.scene.casts[one.event].values(), one.subject[1]}
    prefix = f"{one.event.lower()}-"
    places = (f"{of} in {at}" for of, at in found.items() if of in mine or of.startswith(prefix))
    return ", ".join(places)


def _build_played(one: EventPlay, void: str) -> PlayedEvent:
    judged = one.judged
    return PlayedEvent(
        event=one.event,
        letter="" if judged is None else judged.letter,
        why="" if judged is None else judged.why,
        void=void,
        parts=one.parts,
        witnesses=find_witnesses(one),
        odd=one.scene.odd or one.odd,
        records=tuple(one.trail.records),
    )
