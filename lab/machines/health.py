"""What a machine says of its health to who is on it: ``lab.machines.checkup`` asks.

The supervisor of a lab, an agent of a machine, and each process that it holds, listen on a stream
socket with an abstract name (``unix(7)``). It sends one JSON document to each process of the same
user that connects. A process reports how its nodes are; one that stands still sends nothing.

The name is drawn at random at each start and kept in a file of the folder, so that no other user
can take it first. A socket in the folder itself would outlive the process that listens.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from lab.machines.checkup import address_file
from lab.state.peer import peer_is_ours
from services.runtime.real.files import replace_file


class MachineHealth(msgspec.Struct, frozen=True, kw_only=True):
    """``well``: whether it does what it is for; ``text`` says what was seen; ``processes``: the
    names of those that an agent holds."""

    well: bool
    text: str
    processes: tuple[str, ...] = ()


async def serve(
    folder: Path, name: str, tell: Callable[[], Awaitable[MachineHealth]]
) -> asyncio.Server:
    """Answer for ``folder`` under ``name``, to this user and root alone. Raises ``OSError``."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if peer_is_ours(writer.get_extra_info("socket")):
                writer.write(msgspec.json.encode(await tell()))
                await writer.drain()
        finally:
            writer.close()

    address = f"keystead/{secrets.token_hex(16)}"
    listening = socket.socket(socket.AF_UNIX)
    try:
        listening.bind(f"\0{address}")
        replace_file(Path(address_file(str(folder), name)), address.encode(), durable=False)
        return await asyncio.start_unix_server(answer, sock=listening)
    except BaseException:
        listening.close()
        raise


class HealthList(msgspec.Struct, frozen=True):
    """Of everything that shall run on a machine."""

    items: tuple[MachineHealth, ...]
