"""A child, from its fork to its end."""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import socket
import sys
import traceback
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NoReturn

from services.runtime.forking.memory_protection import withhold_memory
from services.runtime.forking.packets import Fork

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
