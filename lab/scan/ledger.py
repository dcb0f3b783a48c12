"""Every secret that this process ever holds, for the scan of a whole run: the key oracle.

It lives in memory, and nowhere else. A process of a lab of real processes also tells each secret to
the ``collector`` of its lab, before anybody can use it (decision 39).
"""

from __future__ import annotations

import os
import socket
import sys
import threading
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
