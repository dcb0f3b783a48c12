"""The Clock port in virtual time: every node reads the loop's time, plus a skew of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from services.runtime.incarnation import Incarnation
from services.runtime.ports import Clock, Rng
from services.runtime.sim.loop import SimLoop
from services.runtime.ticks import Ticks


class SimClock(Clock):
    """See ``ports.Clock``. ``skew`` (seconds, settable by chaos) moves ``now`` and nothing else."""

    def __init__(self, loop: SimLoop, life: Incarnation, rng: Rng) -> None:
        self.skew_s = 0.0
        self._loop = loop
        self._life = life
        self._rng = rng

    def now(self) -> float:
        """Unix seconds: the run's epoch (drawn from its seed), virtual time, the node's skew."""
        self._life.check()
        return self._loop.epoch + self._loop.time() + self.skew_s

    def monotonic(self) -> float:
        self._life.check()
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        self._life.check()
        await self._loop.sleep_future(seconds)
        self._life.check()

    def every(self, period_s: float, jitter_s: float = 0.0) -> AsyncIterator[int]:
        self._life.check()
        return Ticks(self, period_s, jitter_s, self._rng.stream("clock.every"))

    def limit(self, seconds: float) -> float:
        """Unchanged: virtual time has no slow machine that a limit must allow for."""
        return seconds

    def timeout(self, seconds: float) -> asyncio.Timeout:
        self._life.check()
        return asyncio.timeout(seconds)

    def alarm(self, seconds: float, act: Callable[[], None]) -> asyncio.TimerHandle:
        self._life.check()
        timer: asyncio.TimerHandle = self._loop.call_later(seconds, act)
        return timer
