"""A period that can be cut short: the next tick comes after it, or on request."""

from __future__ import annotations

import asyncio

from services.runtime.ports import Clock
from services.runtime.service import ServiceNode


class Ticker:
    """``await next()`` returns after each period and after each ``tick_now``.

    Ticks do not pile up: several before the next call of ``next`` count as one. ``period_s`` are
    lab seconds.
    """

    def __init__(self, node: ServiceNode, clock: Clock, label: str, period_s: float) -> None:
        self._node, self._clock = node, clock
        self._label, self._period_s = label, period_s
        self._tick = asyncio.Event()

    def start(self) -> None:
        """Begin to tick; in the background for the rest of the node's life."""
        self._node.background(self._label, self._count())

    def tick_now(self) -> None:
        """Tick now, without waiting for the end of the period."""
        self._tick.set()

    async def next(self) -> None:
        """Return at the next tick."""
        await self._tick.wait()
        self._tick.clear()

    async def _count(self) -> None:
        async for _ in self._clock.every(self._period_s):
            self._tick.set()
