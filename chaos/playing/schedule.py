"""The schedule of a run as it is played.

Entries begin at their times, or when what they wait for has come. Each fault begins, is carried
on, is taken back and seen gone in its time. A fork adds faults to a run of the simulation that was
played without them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol

import msgspec

from chaos.errors import ChaosError
from chaos.experiment.plan import Begun, Cue, Ended, Plan, Planned, PlannedFault, Seen
from chaos.faults import to_plain
from chaos.faults.base import Fault
from chaos.faults.points import PointFault
from chaos.history import History, Record
from chaos.keeper import FaultInForce, HealOutcome, Keeping, StillThere
from chaos.lab import REFUSALS, LabUnderTest
from chaos.observe.look import LabLook, all_events, nodes_of
from chaos.points import Strike, Strikes
from chaos.progress import PhaseProgress
from protocol.messages.agent import NodeRunState
from protocol.messages.vcenter.inventory import VcEvent
from protocol.terms import HostConnectionState, NodeName, Role

LOOK_S: Final = 1.0  # lab seconds from one look at vCenter's events, or at nodes, to the next


@dataclass
class _Moment:
    """Something that comes once: ``at`` of the fault phase, or None when it never will."""

    event: asyncio.Event = field(default_factory=asyncio.Event)
    at: float | None = None

    def come(self, at: float | None) -> None:
        if not self.event.is_set():
            self.at = at
            self.event.set()


@dataclass
class _Watched:
    """A condition, and how often it was seen."""

    what: Seen
    moment: _Moment = field(default_factory=_Moment)
    count: int = 0

    def see(self, event: str, names: set[str], at: float) -> None:
        if event != self.what.event or (self.what.on and names.isdisjoint(self.what.on)):
            return
        self.count += 1
        if self.count == self.what.nth:
            self.moment.come(at)


@dataclass
class Cues:
    """Tells each entry of one plan when it begins. ``now`` is the time of the fault phase,
    ``sleep_to`` waits for a moment of it; ``missed`` are the entries that never began.
    ``strikes`` is what can strike within calls, and ``passages`` are the calls, by entry, in which
    something has fallen."""

    plan: Plan
    lab: LabUnderTest
    history: History
    sleep_to: Callable[[float], Awaitable[None]]
    now: Callable[[], float]
    strikes: Strikes | None = None
    missed: list[Planned] = field(default_factory=list)
    passages: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        every = self.plan.entries()
        self._cues = {planned.id: planned.cue for planned in every}
        self._begun = {planned.id: _Moment() for planned in every}
        self._ended = {planned.id: _Moment() for planned in every}
        self._kinds = {fault.id: fault.kind for fault in self.plan.faults}
        wanted = [cue.what for cue in self._cues.values() if cue and isinstance(cue.what, Seen)]
        self._watched = {what: _Watched(what) for what in wanted}
        self._fallen = {p.id: _Moment() for p in every if p.cue and isinstance(p.cue.what, Strike)}
        self._closed = False

    def by_time(self, planned: Planned) -> bool:
        """Whether it certainly begins: no condition stands before it, or before what it follows."""
        cue = planned.cue
        while cue is not None and not isinstance(cue.what, Seen | Strike):
            cue = self._cues[cue.what.of]
        return cue is None

    # Begins and ends -----------------------------------------------------------------------

    async def begin(self, planned: Planned) -> float | None:
        """Return when it begins, with the time; None when what it waits for never came."""
        if planned.cue is None:
            at: float | None = planned.at
        else:
            came = await self._came(planned.id, planned.cue)
            at = None if came is None else came + planned.cue.delay_s
        if at is not None:
            await self.sleep_to(at)
        else:
            self.missed.append(planned)
            self.history.add("note", op="never", id=planned.id)
            self._ended[planned.id].come(None)
        self._begun[planned.id].come(at)
        return at

    async def window(self, cue: Cue) -> tuple[float, float] | None:
        """Wait for the begin or end of an entry: from when on, and until when, a probe is measured
        that follows it; None when it never came."""
        came = None
        if isinstance(cue.what, Begun | Ended) and cue.what.of in self._begun:
            came = await self._came("", cue)
        if came is None:
            return None
        begin = came + cue.delay_s
        return begin, begin + (cue.lasts_s or 0.0)

    def mark_ended(self, planned: Planned) -> None:
        """It is over; what follows it may begin."""
        self._ended[planned.id].come(self.now())

    def close(self) -> None:
        """All is over that has a time: what was not seen by now never comes."""
        self.disarm()
        for moment in (*(w.moment for w in self._watched.values()), *self._fallen.values()):
            moment.come(None)

    def disarm(self) -> None:
        """Nothing strikes any more."""
        self._closed = True
        if self.strikes is not None:
            self.strikes.disarm()

    async def _came(self, id: str, cue: Cue) -> float | None:
        match cue.what:
            case Seen():
                moment = self._watched[cue.what].moment
            case Strike():
                moment = self._fallen[id]
                await self._arm(id, cue.what)
            case Begun():
                moment = self._begun[cue.what.of]
            case Ended():
                moment = self._ended[cue.what.of]
        await moment.event.wait()
        if moment.at is None or not isinstance(cue.what, Ended) or not cue.what.wait:
            return moment.at
        return self.now() if await self._ready(cue.what) else None

    async def _arm(self, id: str, strike: Strike) -> None:
        await self.sleep_to(strike.start)
        if self._closed or self.strikes is None:
            return

        def fell(passage: str) -> None:
            self.passages[id] = passage
            self._fallen[id].come(self.now())

        self.strikes.arm(strike, fell)

    async def _ready(self, ended: Ended) -> bool:
        """Whether the nodes of a batch come to be as the next one wants them."""
        until = self.now() + ended.within_s
        while True:
            if set(ended.nodes) <= await self._good(ended.wait):
                return True
            if self.now() >= until:
                return False
            await self.lab.sleep(LOOK_S)

    async def _good(self, wait: str) -> set[NodeName]:
        if wait == "running":
            states = await self.lab.statuses(counters=False)
            return {node for node, seen in states.items() if seen.state is NodeRunState.RUNNING}
        listed = await LabLook(self.lab).vcenter_hosts()
        return {
            host
            for host, info in listed.items()
            if info.connection is HostConnectionState.CONNECTED
        }

    # Looking -------------------------------------------------------------------------------

    def hear(self, record: Record) -> None:
        """A record that has just been written."""
        event, names = f"{record.type}:{record.op}", {record.node}
        if record.type == "fault":
            names = {*map(str, record.data.get("nodes", ()))}
        elif record.type == "heal" and record.data.get("verified"):
            event = f"heal:{self._kinds.get(str(record.data.get('id')), '')}"
        for watched in self._watched.values():
            watched.see(event, names, self.now())

    async def listen(self) -> None:
        """See the events of every vCenter from now on; for as long as the task lives."""
        if not any(":" not in what.event for what in self._watched):
            return
        last = {vcenter: 0 for vcenter in nodes_of(self.lab, Role.VCENTER)}
        first = True
        while True:
            for vcenter, after in last.items():
                try:
                    events = await all_events(self.lab, vcenter, after=after)
                except REFUSALS:  # it is down, or does not answer: seen when it does again
                    continue
                if events:
                    last[vcenter] = events[-1].sequence
                for event in events if not first else ():
                    self._hear_event(event)
            first = False
            await self.lab.sleep(LOOK_S)

    def _hear_event(self, event: VcEvent) -> None:
        names = {str(name) for name in (event.host, event.vm, event.provider) if name}
        for watched in self._watched.values():
            watched.see(event.event.value, names, self.now())


GONE: Final = "KS-CHAOS-104"
MISSED: Final = ("KS-CHAOS-101", "KS-CHAOS-102", "KS-CHAOS-106")
"""Why a fault did not come to be: it does not bite, could not be made, or cannot act here."""
HEAL_AGAIN_S: Final = 5.0  # lab seconds between two tries to end what another fault holds
LAPSE_S: Final = 30.0
"""Lab seconds after the end of its lease by which a fault is being taken back."""


@dataclass
class Intervals:
    """Plays the faults of one plan. ``now`` tells the time of the fault phase, ``sleep_to`` waits
    for a moment of it; ``begun`` are the ids of what this run has to take back, ``ending`` of what
    is taken back already, ``open`` of those whose begin is written down, and not their end."""

    plan: Plan
    lab: LabUnderTest
    keeper: Keeping
    history: History
    phases: PhaseProgress
    cues: Cues
    sleep_to: Callable[[float], Awaitable[None]]
    now: Callable[[], float]
    begun: set[str] = field(default_factory=set)
    ending: set[str] = field(default_factory=set)
    open: set[str] = field(default_factory=set)
    left: tuple[StillThere, ...] = ()

    async def play(self, planned: PlannedFault) -> None:
        """One fault from its begin to its end.

        ``ChaosError`` when it does not go as planned; one that was drawn is missed then.
        """
        at = await self.cues.begin(planned)
        if at is None:
            return
        self.begun.add(planned.id)
        if not await self._inject(planned, at):
            return
        until = planned.until
        if planned.cue is not None and planned.cue.lasts_s is not None:
            until = at + planned.cue.lasts_s
        if until is None:
            return
        await self.sleep_to(until)
        await self._end(planned)
        self.cues.mark_ended(planned)

    async def _inject(self, planned: PlannedFault, at: float) -> bool:
        """Whether it has begun, which was to be ``at``."""
        fault = planned.fault()
        if isinstance(fault, PointFault):
            fault = fault.with_passage(self.cues.passages[planned.id])
        about: dict[str, Any] = {"id": planned.id, "planned": at}
        about["summary"] = fault.summary()
        self.history.add("note", op="inject", id=planned.id, values=to_plain(fault))
        try:
            active = await self.keeper.inject(fault, self.plan.lease_s)
        except ChaosError as error:
            listed = [active for active in self.keeper.active() if active.fault.id == planned.id]
            taken_back = not listed
            if planned.drawn and error.id in MISSED:
                self.phases.tell(f"{planned.id} is missed: {error.text}")
                if taken_back:
                    self.history.add(
                        "note", op="missed", fault=fault.kind, **about, error=str(error)
                    )
                else:
                    self._record_begin(listed[0], about | {"half_made": str(error)})
                    await self._end(planned)
                return False
            self.history.add("fault", op=fault.kind, **about, error=str(error))
            self.open.add(planned.id)
            if taken_back:
                self._write(HealOutcome(healed=(planned.id,)))
            raise
        self._record_begin(active, about)
        self.phases.tell(f"{planned.id}: {fault.summary()}")
        return True

    def _record_begin(self, active: FaultInForce, about: dict[str, Any]) -> None:
        """The fault is in force for certain from now on, all of it or a part; ``began`` is when it
        was done."""
        fault = active.fault
        about = about | {"began": self.history.at(active.since)}
        about = about | {"nodes": list(fault.touches()), "values": to_plain(fault), **active.found}
        self.history.add("fault", op=fault.kind, **about)
        self.open.add(fault.id)

    async def _end(self, planned: PlannedFault) -> None:
        """Take it back; a drawn one, whose nodes another fault may hold, again and again until
        the phase is over."""
        self.ending.add(planned.id)
        self.history.add("note", op="ending", id=planned.id, cure=planned.cure)
        self._check_lease(planned)
        while True:
            report = await self._heal(planned)
            again = planned.drawn and bool(report.left) and self.now() < self.plan.duration_s
            if not again:
                break
            await self.sleep_to(min(self.now() + HEAL_AGAIN_S, self.plan.duration_s))
        self._write(report, cured=planned.cure)
        if planned.drawn and report.left:
            self.phases.tell(f"{planned.id} goes on: {report.left[0].seen}")
            return
        self.phases.tell(f"{planned.id}: ended")
        problems = _problems(report, cured=planned.cure)
        if problems:
            raise problems[0]

    async def _heal(self, planned: PlannedFault) -> HealOutcome:
        try:
            return await self.keeper.heal(planned.id, with_cure=planned.cure)
        except ChaosError as error:
            if error.id != GONE:
                raise
            if planned.drawn or self.plan.unattended:  # its lease has run out: it was seen gone
                return HealOutcome(healed=(planned.id,), left=())
            raise ChaosError("KS-CHAOS-202", f"{planned.id} was gone before its end") from None

    def _check_lease(self, planned: PlannedFault) -> None:
        """KS-CHAOS-202 for a fault that is in force long after its lease, and not taken back."""
        now = self.lab.monotonic()
        for active in self.keeper.active():
            over_s = now - active.until if active.until else 0.0
            if active.fault.id == planned.id and over_s > LAPSE_S and not active.ending:
                text = f"{planned.id} is there {over_s:g} s after the end of its lease"
                raise ChaosError("KS-CHAOS-202", text)

    async def be_away(self, begin: float, end: float) -> None:
        """Carry no lease on from ``begin`` to ``end``, as a controller that was killed does."""
        await self.sleep_to(begin)
        self.history.add("note", op="unattended", lease=self.plan.lease_s)
        await self.sleep_to(end)
        self.history.add("note", op="attended")

    def _is_away(self) -> bool:
        return any(begin <= self.now() < end for begin, end in self.plan.unattended)

    async def renew(self) -> None:
        """Carry leases on; one that is over already ran out unseen by its fault's own task."""
        while True:
            await self.lab.sleep(self.plan.lease_s / 3)
            if self._is_away():
                continue
            for active in self.keeper.active():
                if active.fault.id not in self.begun - self.ending or active.until == 0:
                    continue
                if self.lab.monotonic() >= active.until:
                    if self.plan.unattended:  # whether it ends by itself is seen at its end
                        continue
                    raise ChaosError("KS-CHAOS-202", f"{active.fault.id} outlived its lease")
                try:
                    await self.keeper.renew(active.fault.id, self.plan.lease_s)
                except ChaosError as error:
                    if error.id != GONE:  # it ended in order meanwhile
                        raise

    def there(self) -> tuple[str, ...]:
        """The ids of what this run has begun and not seen gone, but what has no undo."""
        listed = self.keeper.active()
        return tuple(a.fault.id for a in listed if a.fault.id in self.begun and a.fault.reversible)

    async def heal(self, which: Callable[[Fault], bool] = lambda fault: True) -> list[str]:
        """Take back what was begun, all of it or ``which``; what was not seen to be gone, as
        errors."""
        report = await self._heal_begun(which)
        self.left = report.left
        listed = {active.fault.id for active in self.keeper.active()}
        # One that ended while nobody was there to write it down is listed no longer either: its
        # task was cancelled in the middle of its heal, or its lease ran out.
        unwritten = self.open - listed - set(report.healed)
        self._write(msgspec.structs.replace(report, healed=(*report.healed, *sorted(unwritten))))
        return [str(problem) for problem in _problems(report, cured=False)]

    async def _heal_begun(self, which: Callable[[Fault], bool]) -> HealOutcome:
        """Newest first; then once more what may have waited for another to be healed."""
        healed: list[str] = []
        left: dict[str, StillThere] = {}
        cures = {planned.id for planned in self.plan.faults if planned.drawn and planned.cure}
        for attempt in range(2):
            for active in reversed(self.keeper.active()):
                id = active.fault.id
                if id not in self.begun or (attempt and not active.fault.reversible):
                    continue
                if not which(active.fault):
                    continue
                self.ending.add(id)
                self.history.add("note", op="ending", id=id, cure=id in cures)
                try:
                    report = await self.keeper.heal(id, with_cure=id in cures)
                except ChaosError as error:
                    if error.id == GONE:  # it lapsed meanwhile
                        continue
                    raise
                healed += report.healed
                left.pop(id, None)
                left |= {fault.id: fault for fault in report.left}
        return HealOutcome(healed=tuple(healed), left=tuple(left.values()))

    def _write(self, report: HealOutcome, *, cured: bool = False) -> None:
        for id in report.healed:
            self.open.discard(id)
            self.history.add("heal", op="heal", id=id, verified=True, cured=cured)
        for fault in report.left:
            self.history.add(
                "heal",
                op="heal",
                id=fault.id,
                verified=False,
                stays=not fault.reversible,
                seen=fault.seen,
            )


def _problems(report: HealOutcome, *, cured: bool) -> list[ChaosError]:
    """A heal that was not seen to work is an error of the harness, as is a failed cure."""
    return [
        ChaosError("KS-CHAOS-103", f"{fault.id}: {fault.seen}")
        for fault in report.left
        if fault.reversible or cured
    ]


class ScheduledCall(Protocol):
    """A call that comes later."""

    def cancel(self) -> None:
        """It does not come any more."""


Later = Callable[[float, Callable[[], object]], ScheduledCall]
"""Calls a function after so many lab seconds, and takes no step before."""


@asynccontextmanager
async def forked_faults(
    plan: Plan,
    later: Later | None,
    group: asyncio.TaskGroup,
    play: Callable[[PlannedFault], Coroutine[Any, Any, None]],
) -> AsyncIterator[list[asyncio.Task[None]]]:
    """The tasks of the forked faults, each from its time on, for the length of a block."""
    tasks: list[asyncio.Task[None]] = []

    def begin(planned: PlannedFault) -> None:
        tasks.append(group.create_task(play(planned), name=f"fault-{planned.id}"))

    timers = [later(one.at, partial(begin, one)) for one in plan.forks()] if later else []
    try:
        yield tasks
    finally:
        for timer in timers:
            timer.cancel()
