"""What servers say of themselves to whoever asks: their greeting, and their monitoring port."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any, Final

_LIMIT_S: Final = 2.0
_LONGEST: Final = 1 << 20  # bytes of an answer


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


async def server_name(port: int) -> str | None:
    """The name in the greeting of what listens there; None when nothing greets yet."""
    try:
        return str((await greeting("127.0.0.1", port))["server_name"])
    except (OSError, ValueError, KeyError, TimeoutError):
        return None


async def routes_at(port: int) -> frozenset[str]:
    """The names of servers that the one with this monitoring port has routes to."""
    try:
        async with asyncio.timeout(_LIMIT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"GET /routez HTTP/1.0\r\n\r\n")
                answer = await reader.read(_LONGEST)
                while more := await reader.read(_LONGEST):
                    answer += more
            finally:
                writer.close()
        routes = json.loads(answer.partition(b"\r\n\r\n")[2]).get("routes") or ()
        return frozenset(str(route.get("remote_name")) for route in routes)
    except (OSError, ValueError, TimeoutError):
        return frozenset()
