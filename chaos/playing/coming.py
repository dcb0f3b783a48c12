"""The arrivals of a run as they come, of which those of its load may be drawn anew while it runs.

A change stands in the history of the run, so that whoever reads that has the same arrivals
(``changed``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Final

from chaos.experiment.plan import Plan
from chaos.history import History, Record
from chaos.load.profile import read_rate
from chaos.workload import ARRIVALS_LIMIT, Arrival

CHANGED: Final = "load.rate"
"""The note of a change: from ``at`` seconds of the fault phase on its load's ``rate`` was this."""


class Unchangeable(Exception):
    """A load cannot be changed so now."""


class Coming:
    """Of one run. ``now``: seconds of its fault phase; ``sleep_to``: wait until then."""

    def __init__(
        self,
        plan: Plan,
        history: History,
        now: Callable[[], float],
        sleep_to: Callable[[float], Awaitable[None]],
    ) -> None:
        self.load = plan.load
        self._plan, self._history = plan, history
        self._now, self._sleep_to = now, sleep_to
        self._left = list(reversed(plan.arrivals))
        self._changes: list[tuple[float, str]] = []
        self._nap: asyncio.Task[None] | None = None
        self.open = False
        """Whether its load may be changed, so that its end is waited for."""

    async def next(self) -> Arrival | None:
        """The next one, when it is due; None when there will be none any more."""
        if not self.open:
            if self._left:
                await self._sleep_to(self._left[-1].at)
            return self._left.pop() if self._left else None
        while self._now() < (at := self._left[-1].at if self._left else self._until):
            await self._sleep(at)
        return self._left.pop() if self._left else None

    @property
    def _until(self) -> float:
        return 0.0 if self.load is None else self.load.until_s

    async def _sleep(self, at: float) -> None:
        """Until then, or until a change."""
        async with asyncio.TaskGroup() as group:
            self._nap = group.create_task(self._until_then(at), name="nap")

    async def _until_then(self, at: float) -> None:
        await self._sleep_to(at)

    def change(self, rate: str) -> tuple[float, str]:
        """Have the rest of its load come at this rate: when that began, in seconds of the fault
        phase, and the rate before. ``ValueError`` for no rate, ``Unchangeable`` when it cannot be
        now."""
        load, wanted, now = self.load, read_rate(rate), self._now()
        if load is None or not self.open or now >= load.until_s:
            raise Unchangeable("all of it has been offered")
        expected = len(self._plan.arrivals) + wanted * (load.until_s - now)
        if expected > ARRIVALS_LIMIT:
            text = f"about {expected:.0f} operations would be offered; at most {ARRIVALS_LIMIT} are"
            raise Unchangeable(text)
        was = self._changes[-1][1] if self._changes else load.rate
        self._changes.append((now, rate.strip()))
        left = _after(self._plan, self._left[::-1], len(self._changes), now, wanted)
        self._left = left[::-1]
        self._history.add("note", op=CHANGED, at=now, rate=rate.strip())
        if self._nap is not None:
            self._nap.cancel()
        return now, was


LoadControl = Callable[[Coming], AbstractAsyncContextManager[None]]
"""Lets people in who change a load while it comes."""


def no_load_control(coming: Coming) -> AbstractAsyncContextManager[None]:
    """Nobody can change it."""
    return nullcontext()


def changes(records: Sequence[Record]) -> list[tuple[float, str]]:
    """When the rate of a run's load was changed, in seconds of its fault phase, and to what."""
    return [
        (float(record.data["at"]), str(record.data["rate"]))
        for record in records
        if record.type == "note" and record.op == CHANGED
    ]


def arrivals_of_run(plan: Plan, records: Sequence[Record]) -> tuple[Arrival, ...]:
    """The arrivals of a run as they were, whoever changed its load meanwhile."""
    arrivals = list(plan.arrivals)
    for nth, (at, rate) in enumerate(changes(records), 1):
        arrivals = _after(plan, arrivals, nth, at, read_rate(rate))
    return tuple(arrivals)


def _after(
    plan: Plan, arrivals: Sequence[Arrival], nth: int, at: float, rate: float
) -> list[Arrival]:
    """What there is of ``arrivals``, in order, after the ``nth`` change of the load."""
    if plan.load is None:
        return list(arrivals)
    kept = [one for one in arrivals if one.at <= at or not plan.load.word_of(one.op)]
    drawn = plan.load.draw_rest(plan.seed, nth, at, rate)
    fresh = [
        Arrival(at=when, op=op, target=target, number=nth * FRESH + place)
        for place, (when, op, target) in enumerate(drawn)
    ]
    return sorted((*kept, *fresh), key=lambda one: one.at)


FRESH: Final = 1_000_000
"""Numbers of arrivals of a change begin at so many times its own; those of a plan lie below."""
