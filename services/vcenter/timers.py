"""Timers of vCenter: a period that can be cut short, and a few timers for many tickers of one
period, as the heartbeats of all hosts need them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

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


SLOTS: Final = 8
ROOM: Final = 128
"""Tickers of a slot before the next one is opened. When all slots are full, the emptiest is
used."""


class BeatTicks:
    """The ticks of one ticker. Several ticks before the next call of ``next`` count as one."""

    def __init__(self) -> None:
        self._tick = asyncio.Event()

    def tick_now(self) -> None:
        """Tick without waiting for the slot."""
        self._tick.set()

    async def next(self) -> None:
        """Return at the next tick."""
        await self._tick.wait()
        self._tick.clear()


class Beats:
    """All tickers with a period of ``period_s`` lab seconds."""

    def __init__(self, clock: Clock, period_s: float) -> None:
        self._clock, self._period_s = clock, period_s
        self._slots: list[dict[BeatTicks, None]] = []

    def join(self, beat: BeatTicks, node: ServiceNode) -> None:
        """Let ``beat`` tick within one period, and then in each.

        ``node`` runs the timers, for the rest of its life.
        """
        slot = next((slot for slot in self._slots if len(slot) < ROOM), None)
        if slot is None and len(self._slots) < SLOTS:
            slot = {}
            part = 1 - len(self._slots) / SLOTS
            self._slots.append(slot)
            node.background("heartbeats", self._count(slot, part))
        if slot is None:
            slot = min(self._slots, key=len)
        slot[beat] = None

    def leave(self, beat: BeatTicks) -> None:
        """Tick one last time, so that the owner notices. No change if it never joined."""
        for slot in self._slots:
            slot.pop(beat, None)
        beat.tick_now()

    async def _count(self, slot: dict[BeatTicks, None], part: float) -> None:
        """Tick after this ``part`` of a period, and then in each period."""
        await self._clock.sleep(part * self._period_s)
        _tick(slot)
        async for _ in self._clock.every(self._period_s):
            _tick(slot)


def _tick(slot: Iterable[BeatTicks]) -> None:
    for beat in slot:
        beat.tick_now()
