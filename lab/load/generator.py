"""Offers arrivals when they are due, whatever became of the earlier ones, and records what came of
every operation: nothing is averaged before the end.
"""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_right
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from chaos.load.arrivals import Arrivals
from chaos.playing import load

OK: Final = 0
"""The number of the outcome of an operation that went well."""
UNSENT: Final = "Unsent"
"""The load was over before its turn came: too many others were under way."""
INTERRUPTED: Final = "Interrupted"
"""The load was ended by somebody while it was under way."""
NO_ANSWER: Final = load.NO_ANSWER | {UNSENT, INTERRUPTED}
"""Outcomes without an answer: how long they were waited for belongs to the latency."""


class LoadRecord:
    """A place for each arrival, by its number, filled when it has ended.

    ``late``     seconds by which the generator itself came to it late: after it was due, and after
                 there was room for it; of one that was held no less than its loop was late then
    ``took``     seconds from when it was due to its end; below 0 while it has not ended
    ``outcome``  ``OK``, or the number of an error in ``errors``
    ``held``     1 when it, or one before it, had to wait because too many were under way
    """

    def __init__(self, count: int) -> None:
        self.late = array("d", bytes(8 * count))
        self.took = array("d", [-1.0]) * count
        self.outcome = array("H", bytes(2 * count))
        self.held = array("B", bytes(count))
        self.errors: list[str] = [""]
        self._numbers: dict[str, int] = {}
        self.ended = self.failed = 0
        self.lately = array("L")
        """Those that have ended since somebody took them out of here."""

    def anew(self, first: int, count: int) -> None:
        """From number ``first`` on, of which none was begun, there are others: ``count`` in all."""
        for column in (self.late, self.took, self.outcome, self.held):
            del column[first:]
        more = count - first
        self.late.frombytes(bytes(8 * more))
        self.took.extend([-1.0] * more)
        self.outcome.frombytes(bytes(2 * more))
        self.held.frombytes(bytes(more))

    def end(self, number: int, took: float, error: str = "") -> None:
        """An operation has ended, ``took`` seconds after it was due; ``error``: its id."""
        self.took[number] = took
        self.lately.append(number)
        self.ended += 1
        if error:
            self.failed += 1
            known = self._numbers.get(error)
            if known is None:
                known = self._numbers[error] = len(self.errors)
                self.errors.append(error)
            self.outcome[number] = known

    def error(self, number: int) -> str:
        """The id of its error; empty for one that went well."""
        return self.errors[self.outcome[number]]

    def timed(self, number: int) -> bool:
        """Whether how long it took belongs to the latency: it went well, or had no answer."""
        return self.took[number] >= 0 and (
            self.outcome[number] == OK or self.error(number) in NO_ANSWER
        )


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
        self._timer = loop.call_at(self._due, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._last = loop.time() - self._due
        self._look()

    def seconds(self, now: float) -> float:
        return max(self._last, now - self._due)

    def close(self) -> None:
        self._timer.cancel()


def _wake(nap: asyncio.Future[None]) -> None:
    if not nap.done():
        nap.set_result(None)


class Generator:
    """Of one load. What ``act`` raises is a defect, which ends it.

    ``begun``: so many arrivals; ``offered_s``: seconds after the begin of the load at which the
    last of them was.
    """

    def __init__(
        self,
        arrivals: Arrivals,
        act: Act,
        *,
        outstanding: int,
        drain_s: float,
        until_s: float = 0.0,
    ) -> None:
        """``outstanding``: so many operations are under way at most; ``drain_s``: so long is waited
        after the last arrival for those that are. Until ``until_s`` seconds after its begin other
        arrivals may come (``anew``)."""
        self.record = LoadRecord(len(arrivals))
        self.begun = 0
        self.begin_at = self.offered_s = 0.0
        self._arrivals, self._act = arrivals, act
        self._most, self._drain_s, self._until_s = outstanding, drain_s, until_s
        self._nap: asyncio.Future[None] | None = None
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
            last = max(last, self._until_s)
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

    def due(self) -> int:
        """How many arrivals were due by now."""
        now = asyncio.get_running_loop().time() - self.begin_at
        return max(bisect_right(self._arrivals.at, now), self.begun)

    def anew(self, rest: Arrivals) -> tuple[float, int]:
        """What was not due by now is none any more, and ``rest`` is offered from now on. Seconds
        after the begin, and the number of the first of these."""
        now = max(asyncio.get_running_loop().time() - self.begin_at, 0.0)
        first = self.due()
        self._arrivals.anew(first, rest, now, self._until_s)
        self.record.anew(first, len(self._arrivals))
        if self._nap is not None:
            _wake(self._nap)
        return now, first

    async def _offer(self, loop: asyncio.AbstractEventLoop) -> None:
        lag = _Lag()
        try:
            await self._offer_all(loop, lag)
        finally:
            lag.close()

    async def _offer_all(self, loop: asyncio.AbstractEventLoop, lag: _Lag) -> None:
        begin, record, due = self.begin_at, self.record, self._arrivals.at
        free_at, at_once = 0.0, 0
        while self._defect is None:
            number = self.begun
            at = due[number] if number < len(due) else self._until_s
            ahead = begin + at - loop.time()
            if ahead > 0:
                at_once = 0
                await self._sleep(loop, begin + at)
                continue  # there may be others by now
            if number >= len(due):
                return
            at_once += 1
            if not at_once % AT_ONCE:
                await asyncio.sleep(0)
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
            task.add_done_callback(self._finish_operation)

    async def _sleep(self, loop: asyncio.AbstractEventLoop, until: float) -> None:
        """Until then, or until there are other arrivals."""
        nap = self._nap = loop.create_future()
        timer = loop.call_at(until, _wake, nap)
        try:
            await nap
        finally:
            timer.cancel()

    async def _one(self, number: int, due: float, loop: asyncio.AbstractEventLoop) -> None:
        error = await self._act(number)
        self.record.end(number, loop.time() - due, error)

    def _finish_operation(self, task: asyncio.Task[None]) -> None:
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
