"""The gate of a machine: connections of nodes elsewhere to nodes that stand here, whose endpoints
are Unix sockets (``services.runtime.real.streams``).

Who comes names a node, is told in one byte whether its endpoint is open, and is connected with it
from then on. What follows is as on one machine: each end applies the link rules of its own process,
and TLS from one node to the other says who is who. So a gate knows nobody, and sees no plain byte.

Nobody can fill it: a connection is new until it is older than the time in which the node behind it
ends whoever has not proved itself. A full gate ends its oldest new connection for the next one.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

from lab.machines.bundle import Manifest
from lab.schema.errors import KeysteadError
from protocol import names
from protocol.terms import NodeName
from services.runtime.real.streams import FOLDER, LET_IN, SocketPath

MOST: Final = 4096
"""Connections at a time. The next one takes the place of the oldest new one; if there is none, it
is not let in."""
NEW_S: Final = 20.0
"""Real seconds until a connection that is still open has proved itself to its node: it has at most
``NAMED_S`` for its name here, as much at the node's endpoint, and ``HANDSHAKE_S`` for TLS."""
NAMED_S: Final = 5.0  # real seconds until a node is named
LINGER_S: Final = 10.0  # until the other end has taken what was written before the end
_LONGEST: Final = 80
_CHUNK: Final = 1 << 16
_SHUT: Final = b"-"
_KEPT: Final = "gate"  # the file with the port of the last time

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Gate:
    """Of the lab in ``folder``, as it lies on this machine. ``port`` when it listens."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FOLDER
        self._server: asyncio.Server | None = None
        self._open = 0
        self._new: dict[asyncio.StreamWriter, asyncio.TimerHandle] = {}  # the oldest first
        self.port = 0

    async def listen(self, host: str, port: int) -> None:
        """Take connections there; port 0 is any that is free. ``OSError`` when it cannot be."""
        self._server = await asyncio.start_server(self._knock, host, port, limit=_CHUNK)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Take no more."""
        if self._server is not None:
            self._server.close()

    async def _knock(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        inner: Ends | None = None
        try:
            has_room = self._open <= MOST or self._end_oldest_new()
            loop = asyncio.get_running_loop()
            self._new[writer] = loop.call_later(NEW_S, self._new.pop, writer, None)
            inner = await self._open_endpoint(reader) if has_room else None
            writer.write(_SHUT if inner is None else LET_IN)
            if inner is not None:
                await _relay_bytes((reader, writer), inner)
            else:
                await writer.drain()
        except (OSError, TimeoutError):
            return
        finally:
            self._open -= 1
            if (timer := self._new.pop(writer, None)) is not None:
                timer.cancel()
            writer.close()
            if inner is not None:
                inner[1].close()

    def _end_oldest_new(self) -> bool:
        """End the oldest connection that is new; false when there is none."""
        if not self._new:
            return False
        writer = next(iter(self._new))
        self._new.pop(writer).cancel()
        writer.transport.abort()
        return True

    async def _open_endpoint(self, reader: asyncio.StreamReader) -> Ends | None:
        """The endpoint of the node that is named; None when there is none behind which somebody
        lives, or it is no name."""
        with suppress(OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            async with asyncio.timeout(NAMED_S):
                line = await reader.readuntil(b"\n")
                node = line[:-1].decode(errors="replace")
                if len(line) > _LONGEST or names.NODE.fault(node):
                    return None
                with SocketPath(self._folder, NodeName(node)) as path:
                    return await asyncio.open_unix_connection(path, limit=_CHUNK)
        return None


async def open_gate(gate: Gate, manifest: Manifest, folder: Path) -> str:
    """Open the gate of a machine that joins; where others find it, empty in a lab without gates.

    It is at the address of this machine from which the lab is reached, and at the port of before,
    unless the Lab file says where. KS-AGENT-012 when it cannot be had.
    """
    if manifest.gate is None:
        return ""
    told, _, wanted = manifest.gate.rpartition(":")
    here = await asyncio.to_thread(_own_address, manifest.address)
    kept = folder / _KEPT
    before = kept.read_text() if kept.exists() else ""
    ports = [int(wanted or 0)] if int(wanted or 0) else [int(before or 0), 0]
    for last, port in enumerate(ports, 1):
        try:
            await gate.listen(here, port)
            break
        except OSError as error:
            if last == len(ports):
                text = (
                    f"machine {manifest.machine} cannot listen at {here}:{port}: {error.strerror}"
                )
                raise KeysteadError("KS-AGENT-012", text) from None
    kept.write_text(str(gate.port))
    host = told or (f"[{here}]" if ":" in here else here)
    return f"{host}:{gate.port}"


def _own_address(lab: str) -> str:
    """The address of this machine from which the lab is reached; nothing is sent."""
    host, _, port = lab.rpartition(":")
    family, _, _, _, at = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(at)
        return str(probe.getsockname()[0])


async def _relay_bytes(one: Ends, other: Ends) -> None:
    """All bytes of both ways, until an end has gone; what it said last arrives."""
    ways = {
        asyncio.create_task(_pump(one[0], other[1])),
        asyncio.create_task(_pump(other[0], one[1])),
    }
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        for _, writer in (one, other):
            writer.close()
        async with asyncio.timeout(LINGER_S):
            for _, writer in (one, other):
                with suppress(OSError):
                    await writer.wait_closed()
    except TimeoutError:
        for _, writer in (one, other):
            writer.transport.abort()
    finally:
        for way in ways:
            way.cancel()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """All bytes of one way, until either end has gone."""
    with suppress(OSError):
        while data := await source.read(_CHUNK):
            sink.write(data)
            await sink.drain()
