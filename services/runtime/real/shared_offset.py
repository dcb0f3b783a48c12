"""How far this machine's clock is ahead of the supervisor's, and until when its processes may live,
in a page that they share.

One process measures and writes the page; all others map the file and read it at each look at the
time. An aligned double in a page is read and written whole. The clock also runs while the machine
sleeps: messages sent to a sleeping machine are late when it wakes.
"""

from __future__ import annotations

import fcntl
import math
import mmap
import os
import struct
import time
from pathlib import Path
from typing import Final

_DOUBLE: Final = struct.Struct("d")
_SIZE: Final = 2 * _DOUBLE.size


def machine_clock() -> float:
    """Seconds of this machine's clock, which also runs while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SharedOffset:
    """The page in the file ``path``, created if it is missing; NaN before the first measurement.

    The file is also a lock: each process that depends on the page shares it (``live``), so a free
    lock means that there is no such process (``deserted``).
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(self._fd).st_size < _SIZE:
                os.pwrite(self._fd, _DOUBLE.pack(math.nan) * 2, 0)
            self._page = mmap.mmap(self._fd, _SIZE)
        except BaseException:
            os.close(self._fd)
            raise

    def live(self) -> None:
        """Depend on the page until this process ends or closes it."""
        fcntl.flock(self._fd, fcntl.LOCK_SH)

    def deserted(self) -> bool:
        """Whether no process depends on the page at this moment."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        fcntl.flock(self._fd, fcntl.LOCK_UN)
        return True

    def close(self) -> None:
        """Stop depending on the page: release its lock."""
        self._page.close()
        os.close(self._fd)

    @property
    def lease_end(self) -> float:
        """When all processes must have ended, on ``machine_clock``; NaN before it is known."""
        return float(_DOUBLE.unpack_from(self._page, _DOUBLE.size)[0])

    @lease_end.setter
    def lease_end(self, value: float) -> None:
        _DOUBLE.pack_into(self._page, _DOUBLE.size, value)

    @property
    def seconds(self) -> float:
        """How many seconds this machine is ahead."""
        return float(_DOUBLE.unpack_from(self._page)[0])

    @seconds.setter
    def seconds(self, value: float) -> None:
        _DOUBLE.pack_into(self._page, 0, value)

    def supervisor_time(self) -> float:
        """The supervisor's monotonic clock now. Before the first measurement so early that no
        deadline has passed."""
        ahead_s = self.seconds
        return -math.inf if math.isnan(ahead_s) else machine_clock() - ahead_s
