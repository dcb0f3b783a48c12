"""The memory of a process with keys is protected from other processes of its user, and from core
files.

Only a process with ``CAP_SYS_PTRACE`` can trace a process that is not dumpable
(``PR_SET_DUMPABLE``, prctl(2)), or read its memory; another program of the same user cannot.
``KEYSTEAD_TRACEABLE=1`` leaves it open to debuggers (decision 88).
"""

from __future__ import annotations

import ctypes
import os
import resource
from typing import Final

TRACEABLE: Final = "KEYSTEAD_TRACEABLE"
_PR_SET_DUMPABLE: Final = 4


def withhold_memory() -> None:
    """Protect this process and those forked from it; a program that it becomes (``execve``) is
    dumpable again."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if os.environ.get(TRACEABLE) != "1":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
