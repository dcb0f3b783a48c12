"""What servers say of themselves: their greeting, and answers to their system account."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import nkeys

from lab.brokers.configuration import SYSTEM_INBOX

_LIMIT_S: Final = 2.0
_AT_ONCE_S: Final = 0.5
_LONGEST: Final = 1 << 20  # bytes of one line of the protocol
_MOST_CLIENTS: Final = 100_000
_MOST_CLOSED: Final = 1024  # connections that closed since the last look, at most
_OPEN: Final = {"auth": True, "limit": _MOST_CLIENTS, "acc": "LAB"}
_CLOSED: Final = {"auth": True, "limit": _MOST_CLOSED, "acc": "LAB", "state": 1, "sort": "stop"}


async def greeting(host: str, port: int) -> dict[str, Any]:
    """What a server sends first (``INFO``). ``OSError`` when nobody answers, ``TimeoutError`` and
    ``ValueError`` when what answers is no nats-server."""
    async with asyncio.timeout(_LIMIT_S):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            line = await reader.readline()
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
    told = json.loads(line.removeprefix(b"INFO ")) if line.startswith(b"INFO ") else None
    if not isinstance(told, dict):
        raise ValueError("it is no nats-server")
    return told


async def find_rejection(url: str) -> str:
    """Why a server closes the connection of whoever comes, as one does that has too many; empty
    when it does not. A client that logs in may not receive it: its own bytes meet a closed
    connection first."""
    said = b""
    with suppress(OSError, TimeoutError):
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            async with asyncio.timeout(_AT_ONCE_S):
                await reader.readline()
                said = await reader.readline()
        finally:
            writer.close()
    return said.decode(errors="replace").strip() if said.startswith(b"-ERR") else ""


class NoServer(Exception):
    """In a sentence, why an address leads to no nats-server."""


async def fetch_greeting(url: str) -> dict[str, Any]:
    """The greeting of the server at that address; ``NoServer`` when there is none."""
    parts = urlsplit(url)
    try:
        return await greeting(str(parts.hostname), int(parts.port or 0))
    except TimeoutError:
        raise NoServer(f"{url} does not greet as a nats-server does") from None
    except ValueError:
        raise NoServer(f"{url} is no nats-server") from None
    except OSError as error:
        raise NoServer(f"{url} does not answer: {error.strerror or error}") from None


async def server_name(port: int) -> str | None:
    """The name in the greeting of what listens there; None when nothing greets yet."""
    try:
        return str((await greeting("127.0.0.1", port))["server_name"])
    except (OSError, ValueError, KeyError, TimeoutError):
        return None


class Connection(msgspec.Struct, frozen=True):
    """A client's connection as its server knows it. ``authorized_user`` is the nkey that it has
    proved; ``name`` is what the client calls itself. Counts are of what the client has sent."""

    cid: int
    name: str = ""
    authorized_user: str = ""
    in_msgs: int = 0
    in_bytes: int = 0


class _Connections(msgspec.Struct):
    server_id: str = ""
    connections: tuple[Connection, ...] = ()


class _Route(msgspec.Struct):
    remote_name: str = ""


class _Routes(msgspec.Struct):
    routes: tuple[_Route, ...] = ()


class _Answer(msgspec.Struct):
    data: msgspec.Raw


class SystemAccount:
    """What a server says of itself to the supervisor, whose nkey has this ``seed``. The connection
    is made when something is asked, and kept. A server that does not answer says nothing."""

    def __init__(self, seed: str) -> None:
        self._nkey = nkeys.from_seed(seed.encode())
        self._asking = asyncio.Lock()
        self._server = ""
        self._inbox = ""
        self._ends: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def routes(self, port: int) -> frozenset[str]:
        """The names of servers that this one has routes to."""
        told = [msgspec.json.decode(d, type=_Routes) for d in await self._ask(port, ("ROUTEZ", {}))]
        return frozenset(route.remote_name for one in told for route in one.routes)

    async def clients(self, port: int) -> frozenset[str]:
        """The names of the nodes' connections."""
        told = map(_connections, await self._ask(port, ("CONNZ", _OPEN)))
        return frozenset(client.name for one in told for client in one.connections)

    async def traffic(self, port: int) -> tuple[str, tuple[Connection, ...]]:
        """The server's id, which each start makes anew, and the nodes' connections: those that are
        open, and those that closed last. Empty when it does not answer."""
        told = await self._ask(port, ("CONNZ", _CLOSED), ("CONNZ", _OPEN))
        if not told:
            return "", ()
        closed, there = map(_connections, told)
        return there.server_id, (*closed.connections, *there.connections)

    def close(self) -> None:
        """Let go of the connection."""
        if self._ends is not None:
            self._ends[1].close()
            self._ends = None

    async def _ask(self, port: int, *questions: tuple[str, object]) -> list[msgspec.Raw]:
        """One answer for each question, or none."""
        async with self._asking:
            try:
                async with asyncio.timeout(_LIMIT_S):
                    if self._ends is None:
                        await self._log_in(port)
                    return [await self._answer(*question) for question in questions]
            except _NO_ANSWER:
                self.close()
                return []
            except asyncio.CancelledError:
                self.close()  # its answer would be taken for that of the next question
                raise

    async def _log_in(self, port: int) -> None:
        self._ends = await asyncio.open_connection("127.0.0.1", port, limit=_LONGEST)
        reader, writer = self._ends
        info = json.loads((await reader.readline()).removeprefix(b"INFO "))
        signed = self._nkey.sign(info["nonce"].encode())
        login = {
            "nkey": self._nkey.public_key.decode(),
            "sig": base64.urlsafe_b64encode(signed).decode().rstrip("="),
            "verbose": False,
            "pedantic": False,
        }
        self._server, self._inbox = info["server_id"], f"{SYSTEM_INBOX}.{os.urandom(8).hex()}"
        writer.write(f"CONNECT {json.dumps(login)}\r\nSUB {self._inbox} 1\r\n".encode())

    async def _answer(self, what: str, options: object) -> msgspec.Raw:
        if self._ends is None:
            raise EOFError
        reader, writer = self._ends
        subject, body = f"$SYS.REQ.SERVER.{self._server}.{what}", json.dumps(options)
        writer.write(f"PUB {subject} {self._inbox} {len(body)}\r\n{body}\r\n".encode())
        while not (line := await reader.readline()).startswith(b"MSG "):
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
            elif not line or line.startswith(b"-ERR"):
                raise EOFError
        message = await reader.readexactly(int(line.split()[-1]) + len(b"\r\n"))
        return msgspec.json.decode(message, type=_Answer).data


_NO_ANSWER: Final = (OSError, ValueError, KeyError, EOFError, TimeoutError, msgspec.DecodeError)


def _connections(data: msgspec.Raw) -> _Connections:
    return msgspec.json.decode(data, type=_Connections)
