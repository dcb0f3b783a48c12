"""HTTP/1.1 over a link that may have faults, whose small answers leave in one write: head and body
are one TLS record."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from lab.vsphere.http.bounded_head import BoundedHeadProtocol
from lab.vsphere.http.client_link import HELD_LIMIT, ClientLink, LinkQueue

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
