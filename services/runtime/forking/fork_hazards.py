"""What a fork would tear: resources that only one of two processes may hold.

A child has a copy of the memory, and shares its parent's open files, sockets and shared memory. It
has none of the parent's threads, but all locks that they held. SQLite databases without a file and
TPMs of libtpms are in memory alone, and copied whole.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

_PROCESS = Path("/proc/self")


def descriptors() -> frozenset[int]:
    """The numbers of all open descriptors."""
    numbers = [int(name) for name in os.listdir(_PROCESS / "fd")]
    return frozenset(number for number in numbers if _descriptor_target(number))


def list_fork_hazards(before: frozenset[int]) -> list[str]:
    """Describe each open resource that a fork would tear. ``before`` were open when this process
    began to load, and are left out."""
    return [*_list_threads(), *_list_files(before), *_list_shared_mappings(), *_list_children()]


def threads() -> int:
    """How many threads run in this process, those of libraries included."""
    return len(os.listdir(_PROCESS / "task"))


def _descriptor_target(number: int) -> str:
    """What a descriptor refers to; empty when it is closed (that of the listing itself)."""
    try:
        return os.readlink(_PROCESS / "fd" / str(number))
    except OSError:
        return ""


def _list_threads() -> list[str]:
    count = threads()
    if count == 1:
        return []
    known = [thread.name for thread in threading.enumerate()]
    return [f"{count} threads run ({', '.join(known)}{', others' * (len(known) < count)})"]


def _list_files(before: frozenset[int]) -> list[str]:
    fresh = sorted(descriptors() - before)
    return [f"descriptor {number} is open: {_descriptor_target(number)}" for number in fresh]


def _list_shared_mappings() -> list[str]:
    found = []
    for line in (_PROCESS / "maps").read_text().splitlines():
        _, rights, _, _, _, *path = line.split(maxsplit=5)
        if rights[1] == "w" and rights[3] == "s":
            found.append(f"memory is shared: {path[0] if path else 'of no file'}")
    return found


def _list_children() -> list[str]:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return []
    return ["a child of this process has not ended, or nobody has waited for it"]
