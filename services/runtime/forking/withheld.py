"""The memory of a process that holds keys is for no other process of its user, and in no core file.

A process that is not dumpable (``PR_SET_DUMPABLE``, prctl(2)) is traced, and its memory read, by
who has ``CAP_SYS_PTRACE`` alone: not by another program of the same user. ``KEYSTEAD_TRACEABLE=1``
leaves it open to debuggers (decision 88).
"""

from __future__ import annotations

import ctypes
import os
import resource
from typing import Final

TRACEABLE: Final = "KEYSTEAD_TRACEABLE"
_PR_SET_DUMPABLE: Final = 4


def withhold_memory() -> None:
    """From now on, for this process and those that are forked of it; a program that it becomes
    (``execve``) is dumpable again."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if os.environ.get(TRACEABLE) != "1":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
