"""A try to connect to a host that may be off: its silence is waited for until the host rings.

A machine that is off is silent, and a request to it lasts to its limit, which on real processes is
some real seconds and so minutes of the lab. A host that boots meanwhile rings: nobody waits for
the answer of the earlier life then, least of all the host's autostart (LOCK-05).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from protocol.errors import TimedOut
from protocol.terms import NodeName
from services.runtime.ports import Clock

R = TypeVar("R")


class Knock:
    """At most one wait at a time; each life of the host ends at most one."""

    def __init__(self, host: NodeName, clock: Clock) -> None:
        self._host, self._clock = host, clock
        self._end_at: Callable[[float], None] | None = None  # of the wait
        self._boot = 0  # whose ring ended a wait

    async def answer(self, asked: Awaitable[R], within_s: float) -> R:
        """What is answered within so many lab seconds; ``TimedOut`` when the host rings first."""
        try:
            async with self._clock.timeout(within_s) as wait:
                self._end_at = wait.reschedule
                return await asked
        except TimeoutError:
            raise TimedOut(f"{self._host} booted while it was asked") from None
        finally:
            self._end_at = None

    def rang(self, boot: int) -> None:
        """The host rings in this life."""
        if self._end_at is not None and boot != self._boot:
            self._boot = boot
            self._end_at(0.0)  # a time that has passed: now
