"""What travels on a simulated connection to the broker, and which of its servers it leads to."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple


class BrokerMessage(NamedTuple):
    subject: str
    reply: str
    payload: bytes
    down: int  # nanoseconds from the broker to the receiver
    no_responders: bool = False


@dataclass(eq=False, slots=True)
class BrokerClientConnection:
    """One TCP connection of a client. Queues hold what travels; a timer only says "one more":
    the loop or a pause may shuffle timers, never messages."""

    epoch: int  # of the broker it leads to
    server: int = 1  # of that broker, where it has several
    open: bool = True  # the broker's view; the client sees the end a little later
    up: deque[BrokerMessage] = field(default_factory=deque)
    down: deque[BrokerMessage] = field(default_factory=deque)
    up_due: int = 0  # when the latest message sent reaches the broker
    down_due: int = 0  # when the latest message for the client reaches it


def settle(future: asyncio.Future[None]) -> None:
    """Wake who waits for it, if he still does."""
    if not future.done():
        future.set_result(None)


class BrokerServers:
    """The servers of one broker, counted from 1: which of them run, and reach each other."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.running = True  # but for those that were ended alone
        self._down: dict[int, None] = {}
        self._cut: set[frozenset[int]] = set()

    @property
    def up(self) -> tuple[int, ...]:
        """The numbers of those that run."""
        numbers = range(1, self.count + 1) if self.running else ()
        return tuple(number for number in numbers if number not in self._down)

    def stop(self, number: int) -> bool:
        """End one alone; False when it was ended already."""
        if number in self._down:
            return False
        self._down[number] = None
        return True

    def start(self, number: int) -> bool:
        """Take that back; False when it was not ended alone."""
        if number not in self._down:
            return False
        del self._down[number]
        return True

    def cut(self, one: int, other: int) -> None:
        """No route between two of them, until ``mend``."""
        self._cut.add(frozenset((one, other)))

    def mend(self, one: int, other: int) -> None:
        """There is a route again."""
        self._cut.discard(frozenset((one, other)))

    def reaches(self, one: int, other: int) -> bool:
        """Whether what one of them has let in comes to the clients of the other."""
        return frozenset((one, other)) not in self._cut

    def next(self, number: int) -> int:
        """``number``, or the next one after it that runs. ``IndexError`` when none does."""
        up = self.up
        return next((n for n in up if n >= number), up[0])
