"""A file that is open to have more written behind it, in both images of a disk (``trees``)."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack

_BEHIND = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


class DurableEnd:
    """The file ``written``, whose content was synced just now, and its twin ``contents``, which has
    the same. All methods block."""

    def __init__(self, written: str, contents: str) -> None:
        with ExitStack() as stack:
            self._written = os.open(written, _BEHIND)
            stack.callback(os.close, self._written)
            self._contents = os.open(contents, _BEHIND)
            stack.callback(os.close, self._contents)
            self._status = os.fstat(self._written)
            self._size = self._status.st_size
            self._stack = stack.pop_all()

    def is_of(self, path: str) -> bool:
        """Whether that is the path of it still, and it ends where it was left."""
        try:
            found = os.lstat(path)
        except OSError:
            return False
        return (
            stat.S_ISREG(found.st_mode)
            and (found.st_dev, found.st_ino) == (self._status.st_dev, self._status.st_ino)
            and found.st_size == self._size
        )

    def append(self, data: bytes) -> None:
        """Write this behind it; durable on return."""
        put(self._written, data)
        os.fdatasync(self._written)
        put(self._contents, data)
        self._size += len(data)

    def close(self) -> None:
        """It is written to no more."""
        self._stack.close()


def put(descriptor: int, data: bytes) -> None:
    """Write all of it; a device may take a part at a time."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]
