"""The faults of a run: each begins, is carried on, is taken back and seen gone in its time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from chaos.errors import ChaosError
from chaos.experiment.plan import Plan, PlannedFault
from chaos.faults import to_plain
from chaos.faults.base import Fault
from chaos.faults.points import PointFault
from chaos.history import History
from chaos.keeper import FaultInForce, HealOutcome, Keeping, StillThere
from chaos.lab import LabUnderTest
from chaos.playing.cues import Cues
from chaos.progress import PhaseProgress

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
