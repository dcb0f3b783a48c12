"""The Clock port in virtual time: every node reads the loop's time, plus a skew of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from services.runtime.incarnation import Incarnation
from services.runtime.ports import Choices, Clock, Rng
from services.runtime.sim.loop import SimLoop


class SimClock(Clock):
    """See ``ports.Clock``. ``skew`` (seconds, settable by chaos) moves ``now`` and nothing else."""

    def __init__(self, loop: SimLoop, life: Incarnation, rng: Rng) -> None:
        self.skew = 0.0
        self._loop = loop
        self._life = life
        self._rng = rng

    def now(self) -> float:
        """Unix seconds: the run's epoch (drawn from its seed), virtual time, the node's skew."""
        self._life.check()
        return self._loop.epoch + self._loop.time() + self.skew

    def monotonic(self) -> float:
        self._life.check()
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        self._life.check()
        await asyncio.sleep(seconds)
        self._life.check()

    def every(self, period: float, jitter: float = 0.0) -> AsyncIterator[int]:
        self._life.check()
        return _Ticks(self, period, jitter, self._rng.stream("clock.every"))

    def limit(self, seconds: float) -> float:
        """Unchanged: virtual time has no slow machine that a limit must allow for."""
        return seconds

    def timeout(self, seconds: float) -> asyncio.Timeout:
        self._life.check()
        return asyncio.timeout(seconds)


class _Ticks:
    """An iterator and not a generator: left behind, it needs no ``aclose`` to be scheduled."""

    def __init__(self, clock: SimClock, period: float, jitter: float, draw: Choices) -> None:
        if period <= 0:
            raise ValueError(f"a period of {period:g} s would never let time pass")
        self._clock = clock
        self._period = period
        self._jitter = jitter
        self._draw = draw
        self._ticks = 0
        self._due = clock.monotonic() + period

    def __aiter__(self) -> _Ticks:
        return self

    async def __anext__(self) -> int:
        wait = self._due - self._clock.monotonic()
        if self._jitter > 0:
            wait += self._draw.uniform(0.0, self._jitter)
        await self._clock.sleep(max(0.0, wait))
        self._ticks += 1
        # After a slow body the grid starts anew from here: missed ticks do not pile up.
        self._due = max(self._due, self._clock.monotonic() - self._jitter) + self._period
        return self._ticks
