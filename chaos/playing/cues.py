"""When the entries of a schedule begin: at their times, or when what they wait for has come.

Records of the history are seen as they are written, events of vCenter by looking each second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from chaos.experiment.plan import Begun, Cue, Ended, Plan, Planned, Seen
from chaos.history import History, Record
from chaos.lab import REFUSALS, LabUnderTest
from chaos.observe.listing import all_events
from chaos.observe.look import LabLook, nodes_of
from chaos.points import Strike, Strikes
from protocol.messages.agent import NodeRunState
from protocol.messages.vcenter import VcEvent
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
