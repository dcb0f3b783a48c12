"""Exclusive locks of whole files, each on its own open file description (``fcntl(2)``,
F_OFD_SETLK).

The kernel refuses a second lock, also within the process. Closing the descriptor releases the lock,
so a killed process releases it too. A lock can be inspected without taking it.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

_NO_LINK = os.O_NOFOLLOW | os.O_CLOEXEC
_FLOCK = "hhqqi4x"  # struct flock: type, whence, start, length, pid
_WHOLE_FILE = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


class Locked(Exception):
    """Another holder has the lock; ``text`` is the content of its file."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def take_lock(path: Path) -> int:
    """A descriptor that holds the lock of the file, which is created if needed. Raises ``Locked``,
    and ``OSError`` where locks are not supported."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _NO_LINK, 0o600)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _WHOLE_FILE)
    except BlockingIOError:
        held = Locked(text_of(descriptor))
        os.close(descriptor)
        raise held from None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def holder_of(path: Path) -> str:
    """The content of the file while its lock is held; else empty, also without a file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | _NO_LINK)
    except FileNotFoundError:
        return ""
    try:
        found = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _WHOLE_FILE)
        free = struct.unpack(_FLOCK, found)[0] == fcntl.F_UNLCK
        return "" if free else text_of(descriptor)
    finally:
        os.close(descriptor)


def text_of(descriptor: int) -> str:
    """The text in a lock's file."""
    return os.pread(descriptor, 256, 0).decode()
