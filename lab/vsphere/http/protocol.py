"""HTTP/1.1 of a listener: request heads bounded in size and in time, the link between clients and
one server with the faults that the lab has put on it, and small answers in one write.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from uvicorn.protocols.http.auto import AutoHTTPProtocol

from lab.schema.answers import RuledLink
from protocol.terms import CLIENT

HEAD_LIMIT: Final = 32_768
"""Bytes of a request without an end of its headers after which the connection ends."""


class BoundedHeadProtocol(AutoHTTPProtocol):  # type: ignore[misc]
    """uvicorn's protocol, with httptools where that is installed.

    A connection ends when the next head is over ``HEAD_LIMIT``, or does not come whole within
    ``timeout_keep_alive`` of the connection or of its own first byte. uvicorn itself waits without
    end for a client that sends nothing, or a byte at a time.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head = 0
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """As of the base class."""
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """As of the base class."""
        super().data_received(data)
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            self._head = 0
            self._forget_deadline()
            return
        self._head += len(data)
        self._expect_head()
        if self._head > HEAD_LIMIT:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """As of the base class."""
        self._forget_deadline()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        if self._deadline is None:
            within_s = self.timeout_keep_alive
            self._deadline = self.loop.call_later(within_s, self.transport.abort)

    def _forget_deadline(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None:
            deadline.cancel()


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


GATHER_LIMIT = 16_384
"""Bytes that wait for each other at most; more is sent at once."""


class GatheringTransport:
    """A transport that sends what one turn of the loop writes in one piece, over a link."""

    def __init__(self, transport: Any, link: ClientLink) -> None:
        self._transport = transport
        self.leaving = LinkQueue(link, lambda: link.outbound, self._deliver, transport.abort)
        self.arriving: LinkQueue
        self._parts: list[bytes] = []
        self._size = 0
        self._loop = asyncio.get_running_loop()

    def write(self, data: bytes) -> None:
        """Send it, together with what is written until the turn ends."""
        if not data:
            return
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)
        self._size += len(data)
        if self._size > GATHER_LIMIT:
            self._flush()

    def writelines(self, parts: Iterable[bytes]) -> None:
        """The same for several pieces."""
        self.write(b"".join(parts))

    def _flush(self) -> None:
        parts, self._parts, self._size = self._parts, [], 0
        if parts:
            self.arriving.answers = True
            self.leaving.send(b"".join(parts))

    def _deliver(self, data: bytes | None) -> None:
        if data is None:
            self._transport.close()
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Send what waits, and close."""
        self._flush()
        self.leaving.send(None)

    def lose(self) -> None:
        """The connection has ended: what has not left never does."""
        self.leaving.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class SingleWriteProtocol(BoundedHeadProtocol):
    """The protocol on such a transport."""

    def __init__(self, *args: Any, link: ClientLink, **options: Any) -> None:
        super().__init__(*args, **options)
        self._link = link
        self._held = False

    def connection_made(self, transport: Any) -> None:
        """As of the base class."""
        link = self._link
        self._gathering = GatheringTransport(transport, link)
        self._arriving = LinkQueue(link, lambda: link.inbound, self._arrive, transport.abort)
        self._gathering.arriving = self._arriving
        super().connection_made(self._gathering)

    def data_received(self, data: bytes) -> None:
        """Bytes from the client, which arrive when the link lets them."""
        self._gathering.leaving.answers = True
        self._arriving.send(data)
        if self._arriving.size > HELD_LIMIT:
            self._held = True
            self._gathering.pause_reading()

    def _arrive(self, data: bytes | None) -> None:
        super().data_received(data or b"")
        if self._held and not self._arriving.size:
            self._held = False
            self._gathering.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """As of the base class."""
        self._arriving.close()
        self._gathering.lose()
        super().connection_lost(exc)
