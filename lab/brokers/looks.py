"""What servers say of themselves to whoever asks: their greeting, and their monitoring port."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

_LIMIT_S: Final = 2.0
_AT_ONCE_S: Final = 0.5
_LONGEST: Final = 1 << 20  # bytes of one piece of an answer
_MOST_CLIENTS: Final = 100_000


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


async def turned_away(url: str) -> str:
    """Why a server closes the connection of whoever comes, as one does that has too many; empty
    when it does not. Who logs in may not hear it: its own words meet a closed door first."""
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


async def greeted(url: str) -> dict[str, Any]:
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


async def routes_at(port: int) -> frozenset[str]:
    """The names of servers that the one with this monitoring port has routes to."""
    routes = (await _told(port, "/routez")).get("routes") or ()
    return frozenset(str(route.get("remote_name")) for route in routes)


async def clients_at(port: int) -> frozenset[str]:
    """The names of the clients of the server with this monitoring port."""
    clients = (await _told(port, f"/connz?limit={_MOST_CLIENTS}")).get("connections") or ()
    return frozenset(str(client.get("name")) for client in clients)


async def _told(port: int, path: str) -> dict[str, Any]:
    """Its answer; empty when it gives none."""
    try:
        async with asyncio.timeout(_LIMIT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                answer = await reader.read(_LONGEST)
                while more := await reader.read(_LONGEST):
                    answer += more
            finally:
                writer.close()
        told = json.loads(answer.partition(b"\r\n\r\n")[2])
    except (OSError, ValueError, TimeoutError):
        return {}
    return told if isinstance(told, dict) else {}
