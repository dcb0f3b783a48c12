"""The Clock and Rng ports of the simulation: every node reads the loop's time plus a skew of its
own; choices and tokens are derived from the run's seed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable

from services.runtime.incarnation import Incarnation
from services.runtime.ports import Clock, Rng
from services.runtime.seeded import SeededStreams, Tokens
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


class SimRng(Rng):
    """The Rng port of one life of one node; see ``ports.Rng``.

    Tokens never repeat within a run, not even after a reboot. The same seed gives the same tokens.
    """

    def __init__(self, seed: int, life: Incarnation) -> None:
        self.life = life
        self._streams = SeededStreams(seed, "choice", life.node, life.boot)
        self._tokens = Tokens(seed, "token", life.node, life.boot)

    def reseed(self, seed: int) -> None:
        """Draw everything from another seed from now on, also in streams that callers hold
        already."""
        self._streams.reseed(seed)
        self._tokens.reseed(seed)

    def stream(self, name: str) -> random.Random:
        """The node's stream of choices called ``name``; the same object at each call."""
        self.life.check()
        return self._streams[name]

    def token(self, size: int) -> bytes:
        """``size`` bytes; no decision may depend on them."""
        self.life.check()
        return self._tokens.next(size)
