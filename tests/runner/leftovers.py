"""Processes that outlive the test that started them.

A lab's supervisor leaves its session and its parent, so no process group holds it. While a process
is a *subreaper*, its orphaned descendants become its own children instead of init's, and all can be
found from it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from contextlib import suppress

import psutil

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def adopt_orphans() -> None:
    """From now on, orphaned descendants of this process become its children."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_with_parent(number: signal.Signals) -> None:
    """Have the kernel send this process ``number`` when its parent ends, however that happens."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


def reap() -> dict[int, int]:
    """Collect every child that has ended: exit code, negative for a signal, by process id."""
    found = {}
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            found[ended[0]] = os.waitstatus_to_exitcode(ended[1])
    return found


def alive() -> list[psutil.Process]:
    """Descendants of this process that have not ended."""
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    ]


def end_all(limit_s: float = 10.0) -> list[str]:
    """Kill every descendant, and those that appear meanwhile; the command lines of the killed."""
    told: dict[int, str] = {}
    until = time.monotonic() + limit_s
    while (found := alive()) and time.monotonic() < until:
        for process in found:
            with suppress(psutil.Error):
                told.setdefault(process.pid, " ".join(process.cmdline())[:100] or process.name())
                process.kill()
        time.sleep(0.02)
        reap()
    return list(told.values())
