"""Every secret that this process ever holds, for the scan of a whole run; of a lab of real
processes, what any of them ever held, in this memory only.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import os
import secrets
import socket
import sys
import termios
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgpack

from lab.state.peer import peer_of
from protocol.secret import KeyMaterial

seen: dict[bytes, str] = {}
"""Secret -> who made it first: the module and function that called ``KeyMaterial``."""

_original: Final = KeyMaterial.__init__
_lock: Final = threading.Lock()
_lines: Final[list[socket.socket]] = []


def keep() -> None:
    """From now on write down what ``KeyMaterial`` is made of; again is no change."""
    setattr(KeyMaterial, "__init__", _noting)  # noqa: B010 - a method of a class, from outside


def tell(collector: str) -> None:
    """Keep the ledger, and tell it to the collector of that name too. ``OSError`` when there is
    none: a scan that does not know a process's keys would prove nothing. ``PermissionError`` when
    a process of another user has the name, which is free once the collector has ended."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    line.connect(address(collector))
    if not (peer := peer_of(line)).is_of(os.getuid()):
        line.close()
        raise PermissionError(f"user {peer.user} listens in the place of the collector")
    _lines.append(line)
    keep()


def address(collector: str) -> str:
    """The name in the kernel's abstract space: no file, gone with who listens there."""
    return f"\0{collector}"


def kept() -> bool:
    """Whether this process keeps a ledger."""
    return KeyMaterial.__init__ is _noting


def _noting(self: KeyMaterial, raw: bytes) -> None:
    _original(self, raw)
    held = bytes(raw)
    if held not in seen:
        caller = sys._getframe(1)
        seen[held] = f"{caller.f_globals.get('__name__', '')}:{caller.f_code.co_name}"
        for line in _lines:
            with _lock:
                line.sendall(msgpack.packb((seen[held], held)))


_CHUNK: Final = 1 << 16
_LOOK_S: Final = 0.01


class Collector:
    """``secrets``: bytes -> who made them; ``pids``: the processes that tell what they hold."""

    def __init__(self) -> None:
        self.name = f"keystead-keys-{secrets.token_hex(16)}"
        self.secrets: dict[bytes, str] = {}
        self.pids: set[int] = set()
        self._readers: dict[asyncio.StreamReader, socket.socket] = {}

    async def hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One process, until it ends; somebody else's is not listened to."""
        line = writer.get_extra_info("socket")
        peer = peer_of(line)
        try:
            if peer.user != os.getuid():
                return
            self.pids.add(peer.process)
            self._readers[reader] = line
            unpacker = msgpack.Unpacker()
            while data := await reader.read(_CHUNK):
                unpacker.feed(data)
                for kind, secret in unpacker:
                    self._note(kind, secret)
        finally:
            self._readers.pop(reader, None)
            writer.close()

    def _note(self, kind: str, secret: bytes) -> None:
        """That it came out of a box tells least of who made it."""
        if self.secrets.get(secret, "protocol.").startswith("protocol."):
            self.secrets[secret] = kind

    async def whole(self) -> None:
        """Return when everything has been heard that was told before."""
        while any(_unread(line) for line in self._readers.values()):
            await asyncio.sleep(_LOOK_S)
        await asyncio.sleep(_LOOK_S)  # what was taken from the sockets is read in the next turn

    async def wait_for_end(self) -> None:
        """Return when every process that told something has ended, at the latest after a second:
        one that is ending has closed its line by then."""
        for _ in range(int(1 / _LOOK_S)):
            if not self._readers:
                return
            await asyncio.sleep(_LOOK_S)


def _unread(line: socket.socket) -> int:
    """Bytes that have come and were not taken yet."""
    count = array.array("i", [0])
    fcntl.ioctl(line.fileno(), termios.FIONREAD, count)
    return count[0]


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A collector that listens while the block lasts."""
    made = Collector()
    ear = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    ear.bind(address(made.name))
    server = await asyncio.start_unix_server(made.hear, sock=ear)
    try:
        yield made
    finally:
        server.close()
        await made.wait_for_end()
        made.secrets.clear()
