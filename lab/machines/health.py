"""What a machine says of its health to who is on it: ``lab.machines.checkup`` asks.

The supervisor of a lab, an agent of a machine, and each process that it holds, listen on a stream
socket with an abstract name (``unix(7)``), made of their folder: it says one JSON document to
whoever of the same user connects. A process says how its nodes are; one that stands still says
nothing.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec

from lab.machines.checkup import where

_PEER: Final = struct.Struct("3i")  # process, user, group


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """``well``: whether it does what it is for; ``text`` says what was seen; ``processes``: the
    names of those that an agent holds."""

    well: bool
    text: str
    processes: tuple[str, ...] = ()


async def serve(folder: Path, name: str, tell: Callable[[], Awaitable[Health]]) -> asyncio.Server:
    """Answer for ``folder`` under ``name``, to this user and root alone. Raises ``OSError``."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            sock = writer.get_extra_info("socket")
            peer = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
            if _PEER.unpack(peer)[1] in (0, os.getuid()):
                writer.write(msgspec.json.encode(await tell()))
                await writer.drain()
        finally:
            writer.close()

    listening = socket.socket(socket.AF_UNIX)
    listening.bind(where(str(folder), name))
    return await asyncio.start_unix_server(answer, sock=listening)


class HealthList(msgspec.Struct, frozen=True):
    """Of everything that shall run on a machine."""

    items: tuple[Health, ...]
