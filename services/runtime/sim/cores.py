"""The processor cores of one machine that several simulated processes share, and these processes.

A piece of work that finds no free core waits for one, in order of arrival, and keeps it for a slice
at most: then the next one has its turn, as a kernel's fair scheduler does it. Decision 107.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from protocol.messages.agent import COLD, WAKEUP, ServiceTime, ServiceTimes
from services.runtime.incarnation import context_of
from services.runtime.ports import Choices
from services.runtime.request_queues import Processor, WorkDone, draw_service_time
from services.runtime.sim.loop import SimLoop

SLICE_S: Final = 0.003
"""Seconds that a piece of work keeps a core while others wait: that of Linux on few cores."""


class SharedCores:
    """``count`` cores. A piece of work is not aborted when the node that wanted it crashes."""

    def __init__(self, loop: SimLoop, count: int) -> None:
        self.busy_s = 0.0
        """Seconds of work that were done, over all cores."""
        self._loop, self._free = loop, count
        self._context = context_of(None)
        self._waiting: deque[tuple[float, asyncio.Future[None]]] = deque()

    def work(self, seconds: float) -> asyncio.Future[None]:
        """Start a piece of work of ``seconds`` on one core; await it until it is done."""
        done: asyncio.Future[None] = asyncio.Future(loop=self._loop)
        if self._free:
            self._free -= 1
            self._run(seconds, done)
        else:
            self._waiting.append((seconds, done))
        return done

    def _run(self, seconds: float, done: asyncio.Future[None]) -> None:
        turn_s = min(seconds, SLICE_S)
        due = self._loop.now_ns + math.ceil(turn_s * 1e9)
        self._loop.call_at_ns(due, self._end_turn, turn_s, seconds, done, context=self._context)

    def _end_turn(self, turn_s: float, seconds: float, done: asyncio.Future[None]) -> None:
        self.busy_s += turn_s
        if seconds > turn_s:
            self._waiting.append((seconds - turn_s, done))
        elif not done.done():
            done.set_result(None)
        if self._waiting:
            self._run(*self._waiting.popleft())
        else:
            self._free += 1


COLD_AFTER_S: Final = 0.02
"""Lab seconds after which nothing of an idle process is left in the caches of its machine; before,
its next piece of work has a part of the ``cold`` work."""


@dataclass
class _Piece:
    seconds: float
    deadline: float
    arrived: float
    thread: bool
    done: asyncio.Future[WorkDone]


class SharedProcess(Processor):
    """A process on shared cores: an event loop that does as many things at a time as ``times`` has
    cores, in the order in which they arrive.

    A process that was idle waits ``delay`` for a core. Its next piece of work then takes ``wakeup``
    longer, for the switch of context and the event loop that returns, and ``cold``, for its caches.
    What arrives while it works needs none of them. A share ``after`` of what waking up takes comes
    later and holds nothing of the process up, such as threads that go to sleep again.

    ``counts``: pieces of work by class, wake-ups, and wake-ups by share of ``cold``.
    """

    def __init__(
        self,
        loop: SimLoop,
        cores: SharedCores,
        choices: Choices,
        times: ServiceTimes,
        delay: ServiceTime | None = None,
        after: float = 0.0,
    ) -> None:
        self.counts: dict[str, float] = {WAKEUP: 0.0, COLD: 0.0}
        self._loop, self._cores, self._choices = loop, cores, choices
        self._wakeup, self._cold = times.times.get(WAKEUP), times.times.get(COLD)
        self._delay, self._after, self._free = delay, after, times.cores
        self._context = context_of(None)
        self._idle_since = -math.inf
        self._waiting: deque[_Piece] = deque()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def work(
        self, kind: str, seconds: float, deadline: float = 0.0, *, thread: bool = False
    ) -> Awaitable[WorkDone]:
        """See ``Processor``. ``thread``: a thread of its own wakes up for it, and then needs the
        process as its loop does."""
        self.counts[kind] = self.counts.get(kind, 0.0) + 1
        done: asyncio.Future[WorkDone] = asyncio.Future(loop=self._loop)
        piece = _Piece(seconds, deadline, self._loop.time(), thread, done)
        if self._free:
            self._free -= 1
            self._wait_for_core(piece)
        else:
            self._waiting.append(piece)
        return done

    def _wait_for_core(self, piece: _Piece) -> None:
        cold = min((piece.arrived - self._idle_since) / COLD_AFTER_S, 1.0)
        delay_s = self._draw(self._delay)
        if delay_s > 0:
            due = self._loop.now_ns + round(delay_s * 1e9)
            self._loop.call_at_ns(due, self._run, piece, True, cold, context=self._context)
        else:
            self._run(piece, True, cold)

    def _draw(self, time: ServiceTime | None) -> float:
        return 0.0 if time is None else draw_service_time(time, self._choices)

    def _run(self, piece: _Piece, woken: bool, cold: float = 0.0) -> None:
        now = self._loop.time()
        late = piece.done.done() or 0 < piece.deadline < now
        seconds, wakeup_s = 0.0 if late else piece.seconds, 0.0
        if woken:
            self.counts[WAKEUP] += 1
            self.counts[COLD] += cold
            wakeup_s = self._draw(self._wakeup) + cold * self._draw(self._cold)
        work = WorkDone(now - piece.arrived, seconds + wakeup_s, late)

        def end() -> None:
            if self._after and wakeup_s:
                self._cores.work(wakeup_s * self._after)
            if not piece.done.done():
                piece.done.set_result(work)
            self._take_next()

        seconds += wakeup_s * (1 - self._after)
        if seconds > 0:
            self._cores.work(seconds).add_done_callback(lambda _: end(), context=self._context)
        else:
            end()

    def _take_next(self) -> None:
        if self._waiting:
            piece = self._waiting.popleft()
            self._loop.call_soon(self._run, piece, piece.thread, context=self._context)
        else:
            self._free += 1
            self._idle_since = self._loop.time()


class CommitGroups:
    """Something that commits for all who wait for it: the thread of a database that writes, or the
    disk of a machine. Calls that come before a commit has begun share it; the others wait for the
    next one.

    ``commit`` calls its argument when it begins, which returns how long the first call of the group
    takes.
    """

    def __init__(
        self, loop: SimLoop, commit: Callable[[Callable[[], float]], Coroutine[Any, Any, None]]
    ) -> None:
        self._loop, self._commit = loop, commit
        self._context = context_of(None)
        self._waiting: list[tuple[float, asyncio.Future[None]]] = []
        self._group: list[tuple[float, asyncio.Future[None]]] = []
        self._committing = False

    def join(self, seconds: float) -> Awaitable[None]:
        """Ask for a commit, which takes so long alone; await it until it is done."""
        done: asyncio.Future[None] = asyncio.Future(loop=self._loop)
        self._waiting.append((seconds, done))
        if not self._committing:
            self._committing = True
            self._loop.create_task(self._run(), name="commits", context=self._context)
        return done

    def _begin(self) -> float:
        self._group, self._waiting = self._waiting, []
        return self._group[0][0]

    async def _run(self) -> None:
        while self._waiting:
            await self._commit(self._begin)
            for _, done in self._group:
                if not done.done():
                    done.set_result(None)
        self._committing = False
