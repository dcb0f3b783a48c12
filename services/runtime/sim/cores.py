"""The processor cores of one machine that several simulated processes share.

Pieces of work that run at the same time share the cores evenly, as a fair scheduler lets them
(egalitarian processor sharing): of ``n`` pieces on ``C`` cores each advances at the rate
``min(1, C / n)``. Decision 107.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable
from heapq import heappop, heappush

from protocol.messages.agent import ServiceTime
from services.runtime.incarnation import context_of
from services.runtime.request_queues import Processor
from services.runtime.sim.loop import SimLoop
from services.runtime.sim.ready_queue import SimTimer

_SLACK_S = 1e-10
"""Work below this is done: less than the nanosecond to which a timer is rounded."""


class SharedCores(Processor):
    """``count`` cores. A piece of work is not aborted when the node that wanted it crashes."""

    def __init__(
        self,
        loop: SimLoop,
        count: int,
        wakeup: ServiceTime | None = None,
        cold: ServiceTime | None = None,
    ) -> None:
        self.count, self.wakeup, self.cold = count, wakeup, cold
        self._loop = loop
        self._context = context_of(None)
        self._attained_s = 0.0  # by a piece that has run since the cores were last idle
        self._at = 0  # virtual nanoseconds up to which the figures are right
        self._busy_s = 0.0
        self._serial = 0
        self._running: list[tuple[float, int, asyncio.Future[None]]] = []
        self._timer: SimTimer | None = None

    @property
    def busy_s(self) -> float:
        """Seconds of work that were done, over all cores."""
        self._advance()
        return self._busy_s

    def work(self, seconds: float) -> Awaitable[None]:
        """Start a piece of work of ``seconds`` on one core; await it until it is done."""
        self._advance()
        self._serial += 1
        done: asyncio.Future[None] = asyncio.Future(loop=self._loop)
        heappush(self._running, (self._attained_s + seconds, self._serial, done))
        self._set_timer()
        return done

    def _rate(self) -> float:
        return min(1.0, self.count / len(self._running))

    def _advance(self) -> None:
        now = self._loop.now_ns
        if self._running:
            attained_s = (now - self._at) / 1e9 * self._rate()
            self._attained_s += attained_s
            self._busy_s += attained_s * len(self._running)
        else:
            self._attained_s = 0.0
        self._at = now

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._running:
            left_s = max(self._running[0][0] - self._attained_s, 0.0) / self._rate()
            due = self._at + math.ceil(left_s * 1e9)
            self._timer = self._loop.call_at_ns(due, self._finish, context=self._context)

    def _finish(self) -> None:
        self._timer = None
        self._advance()
        while self._running and self._running[0][0] <= self._attained_s + _SLACK_S:
            done = heappop(self._running)[2]
            if not done.done():
                done.set_result(None)
        self._set_timer()
