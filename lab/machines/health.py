"""What a machine says of its health to who is on it: ``lab.machines.checkup`` asks.

An agent of a machine, and each process that it holds, listen on a stream socket with an abstract
name (``unix(7)``), made of the machine's folder: it says one JSON document to whoever of the same
user connects. A process says how its nodes are; one that stands still says nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec

LIMIT_S: Final = 3.0  # real seconds for one answer
AGENT: Final = "agent"
_PEER: Final = struct.Struct("3i")  # process, user, group
_LONGEST: Final = 1 << 16


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """``well``: whether it does what it is for; ``text`` says what was seen; ``processes``: the
    names of those that an agent holds."""

    well: bool
    text: str
    processes: tuple[str, ...] = ()


def _address(folder: Path, name: str) -> str:
    """Of no file: a socket in the folder would outlive who listens, and stop who copies it."""
    return f"\0keystead/{hashlib.sha256(bytes(folder.resolve())).hexdigest()[:32]}/{name}"


async def serve(folder: Path, name: str, tell: Callable[[], Awaitable[Health]]) -> asyncio.Server:
    """Answer for the machine's ``folder`` under ``name``, to this user and root alone. Raises
    ``OSError``."""

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
    listening.bind(_address(folder, name))
    return await asyncio.start_unix_server(answer, sock=listening)


async def asked(folder: Path, name: str) -> Health:
    """What is said there; not well when nobody answers."""
    try:
        async with asyncio.timeout(LIMIT_S):
            reader, writer = await asyncio.open_unix_connection(_address(folder, name))
            try:
                return msgspec.json.decode(await reader.read(_LONGEST), type=Health)
            finally:
                writer.close()
    except (OSError, TimeoutError, msgspec.DecodeError):
        return Health(well=False, text=f"{name} does not answer")


class HealthList(msgspec.Struct, frozen=True):
    """Of everything that shall run on a machine."""

    items: tuple[Health, ...]
