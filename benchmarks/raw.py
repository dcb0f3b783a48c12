"""The least that a round trip over the broker can cost in Python: an ``asyncio.Protocol``.

It writes lines of NATS to a socket and takes answers apart, and has nothing of what a port has:
no envelope, no checks, no deadlines, no second connection. It stands beside the port in
``roundtrips`` and ``scale`` as the measure of what the rest costs.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec
import nkeys

from benchmarks.benchmark import CannotRun

_CRLF = b"\r\n"
LIMIT_S = 10.0

OnMessage = Callable[[str, str, bytes], None]
"""Called with subject, reply subject (or none) and payload."""


class RawClient(asyncio.Protocol):
    """One connection under one identity; ``connect`` makes it."""

    def __init__(self, seed: str, listens_to: str, on_message: OnMessage | None) -> None:
        self._seed, self._listens_to = seed, listens_to
        self._on_message = on_message or self._resolve_reply
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None
        self._unread = b""
        self._unsent: list[bytes] = []
        self._waiting: dict[str, asyncio.Future[bytes]] = {}
        self._numbers = itertools.count(1)

    @classmethod
    async def connect(
        cls, url: str, seed: str, listens_to: str, on_message: OnMessage | None = None
    ) -> RawClient:
        """Return when the broker has our subscription. Without ``on_message`` what arrives
        there answers ``request``."""
        place = urlsplit(url)
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(
            lambda: cls(seed, listens_to, on_message), place.hostname or "", place.port or 0
        )
        async with asyncio.timeout(LIMIT_S):
            await client._ready
        return client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        lost = CannotRun("the broker closed a raw connection")
        futures: list[asyncio.Future[Any]] = [self._ready, *self._waiting.values()]
        for future in futures:
            if not future.done():
                future.set_exception(lost)

    def data_received(self, data: bytes) -> None:
        data, at = self._unread + data, 0
        while (end := data.find(_CRLF, at)) >= 0:
            line = data[at:end]
            if line.startswith(b"MSG "):
                words = line.split()
                start = end + 2
                after = start + int(words[-1])
                if len(data) < after + 2:
                    break
                reply = words[3].decode() if len(words) == 5 else ""
                self._on_message(words[1].decode(), reply, data[start:after])
                at = after + 2
            else:
                at = end + 2
                self._handle_line(line)
        self._unread = data[at:]

    def _handle_line(self, line: bytes) -> None:
        word, _, rest = line.partition(b" ")
        match word:
            case b"INFO":
                self._log_in(msgspec.json.decode(rest)["nonce"])
            case b"PING":
                self._write(b"PONG\r\n")
            case b"PONG":
                if not self._ready.done():
                    self._ready.set_result(None)
            case _:
                raise CannotRun(f"the broker said {line.decode(errors='replace')}")

    def _log_in(self, nonce: str) -> None:
        pair = nkeys.from_seed(self._seed.encode())
        signature = base64.urlsafe_b64encode(pair.sign(nonce.encode())).rstrip(b"=").decode()
        who = {"nkey": pair.public_key.decode(), "sig": signature}
        options = {"verbose": False, "pedantic": False, "lang": "raw", "version": "1", **who}
        subscribe = f"SUB {self._listens_to} 1\r\nPING\r\n".encode()
        self._write(b"CONNECT " + msgspec.json.encode(options) + _CRLF + subscribe)

    def send(self, subject: str, payload: bytes, reply: str = "") -> None:
        """All that is sent within one iteration of the loop leaves in one write."""
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent += (f"PUB {subject} {reply} {len(payload)}\r\n".encode(), payload, _CRLF)

    def _flush(self) -> None:
        unsent, self._unsent = b"".join(self._unsent), []
        self._write(unsent)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    async def request(self, subject: str, payload: bytes) -> bytes:
        """The payload of the answer; our subscription ends in ``*`` or ``>``."""
        reply = f"{self._listens_to[:-1]}{next(self._numbers)}"
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[reply] = future
        self.send(subject, payload, reply)
        return await future

    def _resolve_reply(self, subject: str, reply: str, payload: bytes) -> None:
        future = self._waiting.pop(subject, None)
        if future is not None and not future.done():
            future.set_result(payload)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
