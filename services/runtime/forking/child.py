"""A forked child, from its fork to its end: what a fork would tear, and the protection of the
memory of a process with keys from other processes of its user and from core files.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import resource
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NoReturn

from services.runtime.forking.packets import Fork

TRACEABLE: Final = "KEYSTEAD_TRACEABLE"
_PR_SET_DUMPABLE: Final = 4


def withhold_memory() -> None:
    """Protect this process and those forked from it; a program that it becomes (``execve``) is
    dumpable again."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if os.environ.get(TRACEABLE) != "1":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


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


_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_BROKEN = 70  # exit code of a child whose target raised


def run_child(order: Fork, fd: int, parent: int, not_ours: Iterable[int]) -> NoReturn:
    """What a child does right after its fork: execute its order, without anything of its parent.

    ``fd`` is its end of the socket to the owner; ``not_ours`` are descriptors of its parent that it
    must not hold. The kernel ends it with ``parent``, a pid, even while it is stopped. It does not
    run its parent's exit handlers.
    """
    status = _BROKEN
    try:
        withhold_memory()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at the terminal is for the owner
        signal.pthread_sigmask(signal.SIG_SETMASK, ())  # its parent may have inherited a mask
        os.setsid()
        set_process_name(order.name)
        die_with(parent)
        for other in not_ours:
            os.close(other)
        load_target(order.target)(order.argument, socket.socket(fileno=fd))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)


def load_target(target: str) -> Any:
    """The object that ``module:attribute`` names."""
    module, _, attribute = target.partition(":")
    found: Any = importlib.import_module(module)
    for step in attribute.split("."):
        found = getattr(found, step)
    return found


def set_process_name(name: str) -> None:
    """Show this process as ``name`` in ps and top."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def die_with(parent: int) -> None:
    """Ask the kernel for SIGKILL at the parent's end; leave if it has ended already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)
