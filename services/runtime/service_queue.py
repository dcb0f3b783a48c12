"""The queue in front of a node's cores: requests wait for a core, then for their service time.

Without service times a node's own work takes no virtual time. With them, work starts in order of
arrival on the first core that is free (G/G/c, first come, first served), and its service time is
drawn when it arrives. Admission (``services.runtime.node``) bounds how many requests wait.
Decision 103 says what this model leaves out.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from heapq import heapreplace

from protocol.messages.agent import Distribution, ServiceTime, ServiceTimes, Slowdown
from services.runtime.ports import Choices, Clock

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


class ServiceQueue:
    """The queue and the cores of one life. ``slowdown`` may change at any time."""

    def __init__(
        self, times: ServiceTimes, clock: Clock, choices: Choices, figures: QueueFigures
    ) -> None:
        self.slowdown: Slowdown | None = None
        self.figures = figures
        self._times, self._clock, self._choices = times.times, clock, choices
        self._free_at = [0.0] * times.cores
        self._starts: deque[float] = deque()  # when each request that waits for a core will start

    @property
    def idle(self) -> bool:
        """Whether all work takes no time, so that callers need not wait."""
        return not self._times and self.slowdown is None

    async def serve(self, kind: str, message: object, deadline: float = 0.0) -> None:
        """Wait until a core has worked on ``message``.

        A request that reaches a core after its ``deadline`` (lab monotonic seconds; 0: none) takes
        no time there.
        """
        seconds = self.enter(kind, count_entries(message), deadline)
        if seconds > 0:
            await self._clock.sleep(seconds)

    def enter(self, kind: str, entries: int = 0, deadline: float = 0.0) -> float:
        """Queue one piece of work and return the lab seconds until a core has done it."""
        wildcard = "*.reply" if kind.endswith(".reply") else "*"
        found = self._times.get(kind) or self._times.get(wildcard)
        seconds = 0.0 if found is None else draw_service_time(found, self._choices, entries)
        if self.slowdown is not None and wildcard == "*":
            seconds = self._apply_slowdown(self.slowdown, seconds, entries)
        if seconds <= 0:
            return 0.0
        now = self._clock.monotonic()
        start = max(now, self._free_at[0])
        if deadline and start > deadline:
            return start - now
        heapreplace(self._free_at, start + seconds)
        self._count(now, start, seconds)
        return start + seconds - now

    def _apply_slowdown(self, slowdown: Slowdown, seconds: float, entries: int) -> float:
        if slowdown.share < 1 and self._choices.random() >= slowdown.share:
            return seconds
        extra = slowdown.extra
        added = 0.0 if extra is None else draw_service_time(extra, self._choices, entries)
        return seconds * slowdown.factor + added

    def _count(self, now: float, start: float, seconds: float) -> None:
        starts, figures = self._starts, self.figures
        while starts and starts[0] <= now:
            starts.popleft()
        if start > now:
            starts.append(start)  # starts never decrease: first come, first served
        figures.served += 1
        figures.busy_s += seconds
        figures.waited_s += start - now
        figures.longest_wait_s = max(figures.longest_wait_s, start - now)
        figures.longest = max(figures.longest, len(starts))


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
