"""How far this machine's clock is ahead of the supervisor's, in a page that processes share.

One process measures and writes it; all others map the same file and read it with each look at the
time. A double on its own place in a page is read and written whole.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
import time
from pathlib import Path
from typing import Final

_DOUBLE: Final = struct.Struct("d")


class SharedOffset:
    """The page in the file ``path``, made if it is missing; NaN before the first measure."""

    def __init__(self, path: Path) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(fd).st_size < _DOUBLE.size:
                os.write(fd, _DOUBLE.pack(math.nan))
            self._page = mmap.mmap(fd, _DOUBLE.size)
        finally:
            os.close(fd)

    @property
    def seconds(self) -> float:
        """How far this machine is ahead."""
        return float(_DOUBLE.unpack_from(self._page)[0])

    @seconds.setter
    def seconds(self, value: float) -> None:
        _DOUBLE.pack_into(self._page, 0, value)

    def supervisor_time(self) -> float:
        """The supervisor's monotonic clock now; before the first measure so long ago that no
        deadline has passed."""
        ahead_s = self.seconds
        return -math.inf if math.isnan(ahead_s) else time.monotonic() - ahead_s
