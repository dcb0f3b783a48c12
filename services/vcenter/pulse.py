"""A period that can be cut short: the next beat comes after it, or when somebody asks."""

from __future__ import annotations

import asyncio

from services.runtime.ports import Clock
from services.runtime.service import Node


class Pulse:
    """``await next()`` returns at each period and after each ``poke``; beats do not pile up."""

    def __init__(
        self, node: Node, clock: Clock, label: str, period: float, *, jitter: float = 0.0
    ) -> None:
        self._node, self._clock = node, clock
        self._label, self._period, self._jitter = label, period, jitter
        self._beat = asyncio.Event()
        self._over = False

    def start(self) -> None:
        """Begin to beat; in the background for the rest of the node's life, or until stop."""
        self._node.background(self._label, self._tick())

    def stop(self) -> None:
        """One last beat; the owner sees that it is over."""
        self._over = True
        self._beat.set()

    def poke(self) -> None:
        self._beat.set()

    async def next(self) -> None:
        await self._beat.wait()
        self._beat.clear()

    async def _tick(self) -> None:
        async for _ in self._clock.every(self._period, self._jitter):
            if self._over:
                return
            self._beat.set()
