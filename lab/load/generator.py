"""Offers arrivals when they are due, whatever became of the earlier ones.

Latency is counted from the moment at which an operation was due, so that what had to wait, here or
at the server, has waited. What this process itself begins late is told apart from that: too much of
it, and the figures are about the generator.

Time is the running loop's: the same code offers a load to a server on a wire, and in virtual time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from chaos.load.arrivals import Arrivals
from lab.load.record import INTERRUPTED, UNSENT, Record

SOON_S: Final = 0.05
"""Seconds from the begin of ``run`` to that of the load, in which nothing is due."""

LOOK_S: Final = 0.01
"""Seconds between two looks at how late the loop itself is."""

AT_ONCE: Final = 32
"""So many that are overdue are begun before those under way have their turn."""

Act = Callable[[int], Awaitable[str]]
"""Do the operation of an arrival, by its number; the id of its error, empty when it went well."""


class _Lag:
    """How late the running loop comes to what is due: that of its last look, or of one that is due.

    Who waits for room cannot tell otherwise whether those under way wait for the server, or for
    this process.
    """

    def __init__(self) -> None:
        self._last = 0.0
        self._look()

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._due = loop.time() + LOOK_S
        self._timer = loop.call_at(self._due, self._looked, loop)

    def _looked(self, loop: asyncio.AbstractEventLoop) -> None:
        self._last = loop.time() - self._due
        self._look()

    def seconds(self, now: float) -> float:
        return max(self._last, now - self._due)

    def close(self) -> None:
        self._timer.cancel()


class Generator:
    """Of one load. What ``act`` raises is a defect, which ends it.

    ``begun``: so many arrivals; ``offered_s``: seconds after the begin of the load at which the
    last of them was.
    """

    def __init__(self, arrivals: Arrivals, act: Act, *, outstanding: int, drain_s: float) -> None:
        """``outstanding``: so many operations are under way at most; ``drain_s``: so long is waited
        after the last arrival for those that are."""
        self.record = Record(len(arrivals))
        self.begun = 0
        self.begin_at = self.offered_s = 0.0
        self._arrivals, self._act = arrivals, act
        self._most, self._drain_s = outstanding, drain_s
        self._open: dict[asyncio.Task[None], None] = {}
        self._room, self._idle = asyncio.Event(), asyncio.Event()
        self._defect: BaseException | None = None

    @property
    def open(self) -> int:
        """Operations under way."""
        return len(self._open)

    async def run(self) -> None:
        """Offer them all; what has not ended by the end of the drain is ``Unsent`` when it was not
        begun, and ``TimedOut`` else, or ``Interrupted`` when somebody ends the load."""
        loop, unanswered = asyncio.get_running_loop(), INTERRUPTED
        self.begin_at = loop.time() + SOON_S
        try:
            last = self._arrivals.at[-1] if len(self._arrivals) else 0.0
            async with asyncio.timeout_at(self.begin_at + last + self._drain_s):
                await self._offer(loop)
                while self._open:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            unanswered = "TimedOut"
        finally:
            await self._give_up(unanswered)
        if self._defect is not None:
            raise self._defect

    async def _offer(self, loop: asyncio.AbstractEventLoop) -> None:
        lag = _Lag()
        try:
            await self._offered(loop, lag)
        finally:
            lag.close()

    async def _offered(self, loop: asyncio.AbstractEventLoop, lag: _Lag) -> None:
        begin, record = self.begin_at, self.record
        free_at, at_once = 0.0, 0
        for number, at in enumerate(self._arrivals.at):
            ahead = begin + at - loop.time()
            at_once = 0 if ahead > 0 else at_once + 1
            if ahead > 0 or not at_once % AT_ONCE:
                await asyncio.sleep(max(ahead, 0.0))
            if self._defect is not None:
                return
            record.late[number] = loop.time() - max(begin + at, free_at)
            record.held[number] = begin + at < free_at
            while len(self._open) >= self._most:
                record.held[number] = True
                self._room.clear()
                await self._room.wait()
                free_at = loop.time()
            if record.held[number]:
                record.late[number] = max(record.late[number], lag.seconds(loop.time()))
            self.begun, self.offered_s = number + 1, loop.time() - begin
            task = loop.create_task(self._one(number, begin + at, loop))
            self._open[task] = None
            task.add_done_callback(self._ended)

    async def _one(self, number: int, due: float, loop: asyncio.AbstractEventLoop) -> None:
        error = await self._act(number)
        self.record.end(number, loop.time() - due, error)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._open.pop(task, None)
        self._room.set()
        if not self._open:
            self._idle.set()
        if not task.cancelled() and self._defect is None:
            self._defect = task.exception()

    async def _give_up(self, unanswered: str) -> None:
        left = tuple(self._open)
        for task in left:
            task.cancel()
        for task in left:
            with suppress(asyncio.CancelledError):
                await task
        now = asyncio.get_running_loop().time()
        for number, at in enumerate(self._arrivals.at):
            if self.record.took[number] < 0 and self.begin_at + at <= now:
                error = unanswered if number < self.begun else UNSENT
                self.record.end(number, now - self.begin_at - at, error)
