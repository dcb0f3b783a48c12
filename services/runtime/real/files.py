"""Plain files of the machine, outside of any node's disk: reading without traps, replacing, and
exclusive locks of whole files, each on its own open file description (``fcntl(2)``,
F_OFD_SETLK).
"""

from __future__ import annotations

import fcntl
import os
import stat
import struct
from contextlib import suppress
from io import FileIO
from pathlib import Path


def read_regular_file(path: Path, limit: int) -> bytes:
    """The bytes of a regular file; ``OSError`` or ``ValueError`` if it cannot be read.

    A named pipe or a device is refused at once. At most one byte over ``limit`` is read. Only a
    mount that does not answer can block.
    """
    with open_regular(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"it is larger than {_format_size(limit)}")
    return data


def open_regular(path: Path) -> FileIO:
    """A regular file, open for reading; ``OSError``, or ``ValueError`` for another kind of file."""
    # Without O_NONBLOCK, to open a named pipe would wait for somebody to write.
    file = open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", 0)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ValueError("it is not a regular file")
    return file


def _format_size(limit: int) -> str:
    return f"{limit >> 20} MiB" if limit % (1 << 20) == 0 else f"{limit} bytes"


def replace_file(
    path: Path, data: bytes, *, unfinished: Path | None = None, mode: int = 0o600, durable: bool
) -> None:
    """Replace the content of ``path``. A reader, also after a kill, finds either the old or the new
    file, complete, and never with more permissions than ``mode``. Blocks.

    ``unfinished`` is where the new file is written, on the same file system; by default beside
    ``path`` under a name of this process. ``durable``: the file and its folder are synced, so that
    this also holds after a power loss of the machine. Raises ``OSError``.
    """
    fresh = unfinished or path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(descriptor)
        os.replace(fresh, path)
    except OSError:
        with suppress(OSError):  # an unfinished file would occupy room for nothing
            os.unlink(fresh)
        raise
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable. Blocks; raises ``OSError``."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
