"""Queues of a node's requests: turns in the order of acceptance (a ticket is issued at acceptance
and used later), and the queue in front of the node's cores, where requests wait for a core and
then for their service time.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable
from contextvars import ContextVar, Token
from dataclasses import dataclass
from heapq import heapreplace
from types import TracebackType
from typing import NamedTuple, Protocol

from protocol.messages.agent import Distribution, ServiceTime, ServiceTimes, Slowdown
from services.runtime.ports import Choices

CURRENT: ContextVar[Ticket | None] = ContextVar("keystead_turn", default=None)
"""The ticket whose ``async with`` this task entered last and has not left."""


class Ticket:
    """A place in one queue; ``async with`` waits until it is at the front. Most tickets are at the
    front at once.

    Inside the block the ticket is ``CURRENT``.
    """

    __slots__ = ("_before", "_front", "_key", "_turns", "_waiting")

    def __init__(self, turns: TurnQueues, key: str) -> None:
        self._turns, self._key = turns, key
        self._front = False
        self._waiting: asyncio.Event | None = None
        self._before: Token[Ticket | None] | None = None

    async def __aenter__(self) -> None:
        if not self._front:
            if self._waiting is None:
                self._waiting = asyncio.Event()
            try:
                await self._waiting.wait()
            except BaseException:
                self._turns.leave(self._key, self)
                raise
        self._before = CURRENT.set(self)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            CURRENT.reset(self._before)
        self._turns.leave(self._key, self)

    def end(self) -> None:
        """Return the ticket before its ``async with`` ends; no change when it was returned."""
        self._turns.leave(self._key, self)

    def wake_holder(self) -> None:
        """The ticket's turn has come: wake its holder."""
        self._front = True
        if self._waiting is not None:
            self._waiting.set()


class TurnQueues:
    """All queues of one node, by key."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[Ticket]] = {}

    def take(self, key: str) -> Ticket:
        """The next ticket of queue ``key``."""
        ticket = Ticket(self, key)
        queue = self._queues.setdefault(key, deque())
        queue.append(ticket)
        if len(queue) == 1:
            ticket.wake_holder()
        return ticket

    def leave(self, key: str, ticket: Ticket) -> None:
        """Return a ticket, whether its turn has come or not, and wake the next holder."""
        queue = self._queues.get(key)
        if queue is None or ticket not in queue:
            return
        queue.remove(ticket)
        if queue:
            queue[0].wake_holder()
        else:
            del self._queues[key]


NO_TIMES = ServiceTimes()


@dataclass
class QueueFigures:
    """What went through a node's queues, over all of its lives. Times in lab seconds.

    ``longest`` is the greatest number of requests that waited for a core at one time.
    """

    served: int = 0
    busy_s: float = 0.0
    waited_s: float = 0.0
    longest_wait_s: float = 0.0
    longest: int = 0

    def counters(self) -> dict[str, int]:
        """As counters of the node's status; empty when nothing was served."""
        if not self.served:
            return {}
        return {
            "work_served": self.served,
            "work_busy_ms": round(self.busy_s * 1e3),
            "work_waited_ms": round(self.waited_s * 1e3),
            "work_longest_wait_ms": round(self.longest_wait_s * 1e3),
            "work_longest_queue": self.longest,
        }


class QueueClock(Protocol):
    """What a queue needs of a clock: lab seconds, and waiting for some."""

    def monotonic(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...


class WorkDone(NamedTuple):
    """What became of a piece of work: lab seconds that it waited for a core, and that its process
    needed for it on one core, were no other on it. ``late``: its deadline had passed, so nothing
    was done."""

    waited_s: float
    seconds: float
    late: bool


class Processor(Protocol):
    """The process of a node on a machine whose cores several processes share."""

    @property
    def waiting(self) -> int:
        """Pieces of work that wait."""
        ...

    def work(self, kind: str, seconds: float, deadline: float = 0.0) -> Awaitable[WorkDone]:
        """Queue a piece of work of class ``kind``, of ``seconds`` on one core; await it until it is
        done.

        One that begins after its ``deadline`` (lab monotonic seconds; 0: none) is not done.
        """
        ...


class ServiceQueue:
    """The queue and the cores of one life. ``slowdown`` may change at any time.

    ``processor``: the node's process, where the cores of its machine are shared.
    """

    def __init__(
        self,
        times: ServiceTimes,
        clock: QueueClock,
        choices: Choices,
        figures: QueueFigures,
        processor: Processor | None = None,
    ) -> None:
        self.slowdown: Slowdown | None = None
        self.figures = figures
        self._times, self._clock, self._choices = times.times, clock, choices
        self._free_at = [0.0] * times.cores
        self._starts: deque[float] = deque()  # when each request that waits for a core will start
        self._processor = processor

    @property
    def idle(self) -> bool:
        """Whether all work takes no time, so that callers need not wait."""
        return not self._times and self.slowdown is None

    def gauges(self, now: float) -> dict[str, int]:
        """What waits at ``now`` (lab seconds): requests for a core, and the work that is booked
        already; empty when nothing was served."""
        if not self.figures.served:
            return {}
        backlog_s = sum(max(free - now, 0.0) for free in self._free_at)
        waiting = sum(start > now for start in self._starts)
        waiting += 0 if self._processor is None else self._processor.waiting
        return {"work_waiting": waiting, "work_backlog_ms": round(backlog_s * 1e3)}

    async def serve(self, kind: str, message: object, deadline: float = 0.0) -> None:
        """Wait until a core has worked on ``message``.

        A request that reaches a core after its ``deadline`` (lab monotonic seconds; 0: none) takes
        no time there.
        """
        entries = count_entries(message)
        if self._processor is not None:
            work = self._processor.work(kind, self._draw_time(kind, entries), deadline)
            self.figures.longest = max(self.figures.longest, self._processor.waiting)
            done = await work
            if not done.late:
                self._add_work(done.seconds, done.waited_s)
            return
        seconds = self.enter(kind, entries, deadline)
        if seconds > 0:
            await self._clock.sleep(seconds)

    def enter(self, kind: str, entries: int = 0, deadline: float = 0.0) -> float:
        """Queue one piece of work on cores of the node's own; the lab seconds until it is done."""
        seconds = self._draw_time(kind, entries)
        if seconds <= 0:
            return 0.0
        now = self._clock.monotonic()
        start = max(now, self._free_at[0])
        if deadline and start > deadline:
            return start - now
        heapreplace(self._free_at, start + seconds)
        self._count(now, start, seconds)
        return start + seconds - now

    def _draw_time(self, kind: str, entries: int) -> float:
        wildcard = "*.reply" if kind.endswith(".reply") else "*"
        found = self._times.get(kind) or self._times.get(wildcard)
        seconds = 0.0 if found is None else draw_service_time(found, self._choices, entries)
        if self.slowdown is not None and wildcard == "*":
            seconds = self._apply_slowdown(self.slowdown, seconds, entries)
        return seconds

    def _apply_slowdown(self, slowdown: Slowdown, seconds: float, entries: int) -> float:
        if slowdown.share < 1 and self._choices.random() >= slowdown.share:
            return seconds
        extra = slowdown.extra
        added = 0.0 if extra is None else draw_service_time(extra, self._choices, entries)
        return seconds * slowdown.factor + added

    def _count(self, now: float, start: float, seconds: float) -> None:
        starts = self._starts
        while starts and starts[0] <= now:
            starts.popleft()
        if start > now:
            starts.append(start)  # starts never decrease: first come, first served
        self.figures.longest = max(self.figures.longest, len(starts))
        self._add_work(seconds, start - now)

    def _add_work(self, seconds: float, waited_s: float) -> None:
        figures = self.figures
        figures.served += 1
        figures.busy_s += seconds
        figures.waited_s += waited_s
        figures.longest_wait_s = max(figures.longest_wait_s, waited_s)


def draw_service_time(time: ServiceTime, choices: Choices, entries: int = 0) -> float:
    """Draw one service time, in lab seconds, for work with so many ``entries``."""
    mean = time.mean_s + time.each_s * entries
    match time.distribution:
        case Distribution.CONSTANT:
            return mean
        case Distribution.EXPONENTIAL:
            return -mean * math.log(1.0 - choices.random())
        case Distribution.LOGNORMAL:
            variance = math.log(1.0 + time.spread * time.spread)
            radius = math.sqrt(-2.0 * math.log(1.0 - choices.random()))
            normal = radius * math.cos(2.0 * math.pi * choices.random())
            return mean * math.exp(math.sqrt(variance) * normal - variance / 2.0)


def count_entries(message: object) -> int:
    """The length of the longest list of ``message``; 0 when it has none."""
    lists = (getattr(message, field) for field in getattr(message, "__struct_fields__", ()))
    return max((len(one) for one in lists if isinstance(one, tuple | list | dict)), default=0)
