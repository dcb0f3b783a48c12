"""One timer for many that are to tick equally often: the heartbeats of all hosts.

A period has ``SLOTS`` slots; whoever joins gets the emptiest, the last to come of several, and
ticks once in each period, with all others of its slot. So what a thousand hosts cost is the work,
and not a timer and a task each; and what is asked in one slot leaves in one write.
"""

from __future__ import annotations

import asyncio
from typing import Final

from services.runtime.ports import Clock
from services.runtime.service import Node

SLOTS: Final = 8


class Beat:
    """The ticks of one who joins, or has none but its own so far. Several before the next ``next``
    are one."""

    def __init__(self) -> None:
        self._tick = asyncio.Event()

    def tick_now(self) -> None:
        """Do not wait for the slot."""
        self._tick.set()

    async def next(self) -> None:
        """Return at the next tick."""
        await self._tick.wait()
        self._tick.clear()


class Beats:
    """All who tick every ``period_s`` lab seconds."""

    def __init__(self, clock: Clock, period_s: float) -> None:
        self._clock, self._period_s = clock, period_s
        self._slots: list[dict[Beat, None]] = [{} for _ in range(SLOTS)]
        self._running = False
        self._latest = 0  # the number of the slot that came last, from the beginning

    def join(self, beat: Beat, node: Node) -> None:
        """``beat`` ticks within one period, and then in each.

        ``node`` runs the timer from the first who joins on, for the rest of its life.
        """
        if not self._running:
            self._running = True
            node.background("heartbeats", self._count())
        last_first = [self._slots[(self._latest - back) % SLOTS] for back in range(SLOTS)]
        min(last_first, key=len)[beat] = None

    def leave(self, beat: Beat) -> None:
        """It ticks one last time; its owner sees that it is over. No change if it never joined."""
        for slot in self._slots:
            slot.pop(beat, None)
        beat.tick_now()

    async def _count(self) -> None:
        async for number in self._clock.every(self._period_s / SLOTS):
            self._latest = number
            for beat in self._slots[number % SLOTS]:
                beat.tick_now()
