"""HTTP/1.1 whose request heads are bounded in size and in time."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.auto import AutoHTTPProtocol

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
