"""The Clock and Rng ports of real processes: lab seconds are real seconds times ``pace``; choices
come from the lab's seed, tokens from the operating system.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Callable

from services.runtime.incarnation import Incarnation
from services.runtime.ports import Clock, Rng
from services.runtime.seeded import SeededStreams
from services.runtime.ticks import Ticks

SLOT_S = 0.1  # real seconds: ticks of a machine's nodes within this time share a wake-up
FLOOR_S = 2.0  # real seconds: a loaded machine must not turn a time limit into a fault


class PacedClock(Clock):
    """See ``ports.Clock``. Chaos sets ``skew`` (seconds), which moves ``now`` and nothing else.

    ``epoch`` is ``time.monotonic()`` and ``wall`` Unix time, both at the lab's beginning. ``now``
    advances from ``wall`` in lab seconds, so that timestamps and validity keep the product's time.
    ``read`` is the clock of ``epoch``. ``floor_s``: the minimum of every limit in real seconds; 0
    where a person chose the limit and it must be kept.
    """

    def __init__(
        self,
        life: Incarnation,
        rng: Rng,
        *,
        epoch: float,
        wall: float,
        pace: float = 1.0,
        skew_s: float = 0.0,
        read: Callable[[], float] = time.monotonic,
        floor_s: float = FLOOR_S,
    ) -> None:
        if pace <= 0:
            raise ValueError(f"pace {pace:g} is not positive")
        self.skew_s = skew_s
        self._life, self._rng = life, rng
        self._epoch, self._wall, self._pace, self._read = epoch, wall, pace, read
        self._floor_s = floor_s

    def now(self) -> float:
        return self._wall + self.monotonic() + self.skew_s

    def monotonic(self) -> float:
        self._life.check()
        return (self._read() - self._epoch) * self._pace

    async def sleep(self, seconds: float) -> None:
        self._life.check()
        try:
            await asyncio.sleep(seconds / self._pace)
            await self._life.wait_until_resumed()
        finally:
            self._life.check()

    def every(self, period_s: float, jitter_s: float = 0.0) -> AsyncIterator[int]:
        draw, slot_s = self._rng.stream("clock.every"), SLOT_S * self._pace
        return Ticks(self, period_s, jitter_s, draw, slot_s=slot_s)

    def limit(self, seconds: float) -> float:
        """``seconds``, but at least ``floor_s`` real seconds."""
        return max(seconds, self._floor_s * self._pace)

    def timeout(self, seconds: float) -> asyncio.Timeout:
        self._life.check()
        return asyncio.timeout(self.limit(seconds) / self._pace)

    def alarm(self, seconds: float, act: Callable[[], None]) -> asyncio.TimerHandle:
        self._life.check()
        return asyncio.get_running_loop().call_later(self.limit(seconds) / self._pace, act)


class LabRng(Rng):
    """See ``ports.Rng``. The same (seed, node, boot, name) gives the same stream of choices."""

    def __init__(self, seed: int, life: Incarnation) -> None:
        self._life = life
        self._streams = SeededStreams(seed, "choice", life.node, life.boot)

    def stream(self, name: str) -> random.Random:
        """The node's stream of choices called ``name``; the same object at each call."""
        self._life.check()
        return self._streams[name]

    def token(self, size: int) -> bytes:
        """``size`` bytes of the operating system's entropy."""
        self._life.check()
        return os.urandom(size)
