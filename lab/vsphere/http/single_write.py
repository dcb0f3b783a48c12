"""HTTP/1.1 whose small answers leave in one write: head and body are one TLS record."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

GATHER_LIMIT = 16_384
"""Bytes that wait for each other at most; more is sent at once."""


class GatheringTransport:
    """A transport that sends what one turn of the loop writes in one piece."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
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
            self._transport.write(b"".join(parts))

    def close(self) -> None:
        """Send what waits, and close."""
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class SingleWriteProtocol(H11Protocol):  # type: ignore[misc]
    """uvicorn's protocol on such a transport."""

    def connection_made(self, transport: Any) -> None:
        """As of the base class."""
        super().connection_made(GatheringTransport(transport))
