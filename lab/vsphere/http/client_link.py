"""The link between clients and one server of theirs, with the faults that the lab has put on it.

A link that is cut lets no byte through and reports no error: bytes wait until it is healed, as TCP
repeats them. A new connection is not accepted then, and its client waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from random import Random

from lab.schema.answers import RuledLink
from protocol.terms import CLIENT

HELD_LIMIT = 1 << 20
"""Bytes of one connection that wait for a link at most; the rest stays with the sender."""


@dataclass(frozen=True)
class DirectionFaults:
    """What happens to bytes in one direction. Times in lab seconds."""

    cut: bool = False
    resets: bool = False
    stalls: bool = False
    delay_s: float = 0.0
    jitter_s: float = 0.0


CLEAR = DirectionFaults()


def find_faults(rows: Iterable[RuledLink], src: str, dst: str) -> DirectionFaults:
    """What the rules of the link from ``src`` to ``dst`` come to."""
    rules = [rule for row in rows if (row.src, row.dst) == (src, dst) for rule in row.rules]
    if not rules:
        return CLEAR
    kinds = {rule.kind for rule in rules}
    return DirectionFaults(
        cut="cut" in kinds,
        resets="reset" in kinds,
        stalls="stall" in kinds,
        delay_s=sum(rule.base_s for rule in rules),
        jitter_s=sum(rule.jitter_s for rule in rules),
    )


class ClientLink:
    """The link of all clients to one server. ``sleep``: lets lab seconds pass."""

    def __init__(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._sleep = sleep
        self._jitter = Random(0)
        self.inbound = self.outbound = CLEAR
        self._changed = asyncio.Event()

    def follow(self, rows: Iterable[RuledLink], server: str) -> None:
        """Have the faults that the lab has on this link now."""
        rows = [row for row in rows if CLIENT in (row.src, row.dst)]
        found = find_faults(rows, CLIENT, server), find_faults(rows, server, CLIENT)
        if found != (self.inbound, self.outbound):
            self.inbound, self.outbound = found
            self._changed.set()
            self._changed = asyncio.Event()

    @property
    def accepts(self) -> bool:
        """Whether a connection comes about: a handshake needs both directions."""
        return not any(one.cut or one.stalls for one in (self.inbound, self.outbound))

    async def hold(self, direction: Callable[[], DirectionFaults]) -> None:
        """Return when the link is not cut."""
        while direction().cut:
            await self._changed.wait()

    async def delay(self, faults: DirectionFaults) -> None:
        """Return when what is sent now is as late as the link makes it."""
        delay_s = faults.delay_s + faults.jitter_s * self._jitter.random()
        if delay_s > 0:
            await self._sleep(delay_s)


class LinkQueue:
    """What one end of a connection has sent and the other has not received yet.

    ``deliver`` receives it, in order; ``reset`` ends the connection. A request is delayed once,
    in however many pieces it comes, and so is an answer: when the other end spoke last
    (``answers``).
    """

    def __init__(
        self,
        link: ClientLink,
        direction: Callable[[], DirectionFaults],
        deliver: Callable[[bytes | None], None],
        reset: Callable[[], None],
    ) -> None:
        self._link, self._direction = link, direction
        self._deliver, self._reset = deliver, reset
        self.answers = True
        self._waiting: deque[tuple[bytes | None, bool]] = deque()
        self._passing: asyncio.Task[None] | None = None
        self.size = 0

    def send(self, data: bytes | None) -> None:
        """Send bytes, or None for the end of the connection."""
        faults, first, self.answers = self._direction(), self.answers, False
        if self._passing is None and faults is CLEAR:
            self._deliver(data)
        elif faults.resets:
            self._reset()
        else:
            self._waiting.append((data, first))
            self.size += len(data or b"")
            if self._passing is None:
                self._passing = asyncio.get_running_loop().create_task(self._pass())

    async def _pass(self) -> None:
        while self._waiting:
            await self._link.hold(self._direction)
            if self._waiting[0][1]:
                await self._link.delay(self._direction())
                await self._link.hold(self._direction)
            data, _ = self._waiting.popleft()
            self.size -= len(data or b"")
            self._deliver(data)
        self._passing = None

    def close(self) -> None:
        """The connection has ended: forget what has not arrived, and both of its ends, so that
        the collector has no circle to find."""
        self._waiting.clear()
        self.size = 0
        if self._passing is not None:
            self._passing.cancel()
        self._passing = None
        self._deliver, self._reset = _drop, _do_nothing


def _drop(_data: bytes | None) -> None:
    """The connection has ended."""


def _do_nothing() -> None:
    """The connection has ended."""
