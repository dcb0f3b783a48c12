"""One timer for the pings of all links of a process: a second's pings are sent in one step.

Each host has its own link to the broker, also where hundreds share a process, and each link is
checked once a second. The cost is not the six bytes: a task, a timer and a future for each link
cost more than the heartbeats. Here a ping is a write, and nothing waits for it.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Callable
from typing import Final

_PULSES: Final[weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[float, PingTimer]]] = (
    weakref.WeakKeyDictionary()
)


class PingTimer:
    """Calls all its members once in each interval of real seconds, at multiples of the interval."""

    def __init__(self, loop: asyncio.AbstractEventLoop, interval_s: float) -> None:
        self._loop, self._interval_s = loop, interval_s
        self._members: dict[Callable[[], None], None] = {}
        self._timer: asyncio.TimerHandle | None = None

    @staticmethod
    def of(interval_s: float) -> PingTimer:
        """The pulse of the running loop with that interval."""
        loop = asyncio.get_running_loop()
        pulses = _PULSES.setdefault(loop, {})
        if interval_s not in pulses:
            pulses[interval_s] = PingTimer(loop, interval_s)
        return pulses[interval_s]

    def join(self, member: Callable[[], None]) -> None:
        """Call ``member`` from the next tick on, until it leaves."""
        self._members[member] = None
        if self._timer is None:
            self._schedule()

    def leave(self, member: Callable[[], None]) -> None:
        """Stop calling ``member``. No change if it is not a member."""
        self._members.pop(member, None)
        if not self._members and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        left_s = self._interval_s - time.monotonic() % self._interval_s
        if left_s < self._interval_s / 10:  # timers of the loop may fire slightly early
            left_s += self._interval_s
        self._timer = self._loop.call_later(left_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        for member in tuple(self._members):
            if member in self._members:  # an earlier member may have removed this one
                self._call(member)
        if self._members and self._timer is None:
            self._schedule()

    def _call(self, member: Callable[[], None]) -> None:
        """Call one member; its failure does not affect the others."""
        try:
            member()
        except Exception as error:
            what = {"message": f"{member!r} failed in its turn", "exception": error}
            self._loop.call_exception_handler(what)
