"""A period that can be cut short: the next tick comes after it, or when somebody asks."""

from __future__ import annotations

import asyncio

from services.runtime.ports import Clock
from services.runtime.service import Node


class Ticker:
    """``await next()`` returns after each period and after each ``tick_now``.

    Ticks do not pile up: several before the next ``next`` are one. ``period_s`` and ``jitter_s``
    are lab seconds.
    """

    def __init__(
        self, node: Node, clock: Clock, label: str, period_s: float, *, jitter_s: float = 0.0
    ) -> None:
        self._node, self._clock = node, clock
        self._label, self._period_s, self._jitter_s = label, period_s, jitter_s
        self._tick = asyncio.Event()
        self._over = False

    def start(self) -> None:
        """Begin to tick; in the background for the rest of the node's life, or until ``stop``."""
        self._node.background(self._label, self._count())

    def stop(self) -> None:
        """Tick one last time; the owner sees that it is over."""
        self._over = True
        self._tick.set()

    def tick_now(self) -> None:
        """Do not wait for the end of the period."""
        self._tick.set()

    async def next(self) -> None:
        """Return at the next tick."""
        await self._tick.wait()
        self._tick.clear()

    async def _count(self) -> None:
        async for _ in self._clock.every(self._period_s, self._jitter_s):
            if self._over:
                return
            self._tick.set()
