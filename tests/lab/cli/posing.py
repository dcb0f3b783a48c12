"""What ``/proc`` tells of a process that was forked, where others look for one that was started.

The kernel shows the memory in which the arguments and the environment lay when the program was
started. A process may write there.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOM = "x" * 6_000
"""An argument that takes the room which ``pose`` needs for others."""


def pose(arguments: Iterable[str], environment: Mapping[str, str]) -> None:
    """From now on ``cmdline`` and ``environ`` of this process show these.

    The environment is shown as far as there is room for it; ``KEYSTEAD_`` variables come first.
    """
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    begin, middle, first, last = (int(field) for field in fields[45:49])
    mine = sorted(environment.items(), key=lambda item: not item[0].startswith("KEYSTEAD_"))
    _write(begin, middle - begin, list(arguments), strict=True)
    _write(first, last - first, [f"{name}={value}" for name, value in mine], strict=False)


def _write(address: int, room: int, words: list[str], *, strict: bool) -> None:
    text = b""
    for word in words:
        entry = word.encode() + b"\0"
        if len(text) + len(entry) > room:
            assert not strict, f"no room for {word}"
            break
        text += entry
    ctypes.memset(address, 0, room)
    ctypes.memmove(address, text, len(text))
