"""Forks of the process that asks, for one that has a single thread and ends soon: no server.

A server costs its owner the start of another Python and the import of everything once more. Who
runs one command line, and has no threads that a fork would tear, forks itself.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Iterable
from typing import Final, Protocol

from services.runtime.forking.child import live
from services.runtime.forking.connection import ForkFailed
from services.runtime.forking.packets import Fork
from services.runtime.forking.torn import threads

_LOOK_EVERY_S: Final = 0.005


class Forks(Protocol):
    """Where workers come from: a fork server's owner, or ``OwnForks``."""

    def fork(self, name: str, target: str, argument: bytes = b"") -> tuple[socket.socket, int]:
        """A new child that runs ``target`` (see ``packets.Fork``): the socket to it, its pid."""
        ...

    def code_of(self, pid: int, limit_s: float = 1.0) -> int | None:
        """The exit code of a child that has ended or is about to, negative for a signal; None
        when it has not within ``limit_s`` seconds."""
        ...

    def kill(self, pid: int) -> None:
        """End a child now, whatever it does; nothing when it has ended."""
        ...


class OwnForks:
    """Children of this very process; they end with it, and ``close`` ends them before."""

    def __init__(self) -> None:
        self._children: list[int] = []  # not waited for yet, so the numbers are still their own
        self._ends: dict[int, int] = {}

    def fork(
        self,
        name: str,
        target: str,
        argument: bytes = b"",
        kind: socket.SocketKind = socket.SOCK_STREAM,
        *,
        not_ours: Iterable[int] = (),
    ) -> tuple[socket.socket, int]:
        """As ``Forks``. ``ForkFailed`` when there is a second thread, or the system refuses.

        ``not_ours``: descriptors of this process that the child shall not hold.
        """
        if threads() > 1:
            raise ForkFailed(f"{name} was not forked: {threads()} threads run here")
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # the child flushes its copy at its end
        me, order = os.getpid(), Fork(0, name, target, argument)
        ours, its = socket.socketpair(socket.AF_UNIX, kind)
        # An interrupt between the fork and the child's first steps would unwind two processes.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
        try:
            pid = os.fork()
            if pid == 0:
                live(order, its.detach(), me, (ours.detach(), *not_ours))
            self._children.append(pid)
        except OSError as error:
            ours.close()
            its.close()
            raise ForkFailed(f"{name} was not forked: {error}") from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        its.close()
        return ours, pid

    def code_of(self, pid: int, limit_s: float = 1.0) -> int | None:
        """As ``Forks``."""
        until = time.monotonic() + limit_s
        while not self._reap(pid, os.WNOHANG) and time.monotonic() < until:
            time.sleep(_LOOK_EVERY_S)
        return self._ends.get(pid)

    def kill(self, pid: int) -> None:
        """As ``Forks``."""
        if pid in self._children:
            os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """End all children, and wait for them."""
        for pid in tuple(self._children):
            self.kill(pid)
            self._reap(pid, 0)

    def _reap(self, pid: int, options: int) -> bool:
        """Take note of a child's end; whether there is nothing to wait for any more."""
        if pid not in self._children:
            return True
        ended, status = os.waitpid(pid, options)
        if ended:
            self._children.remove(pid)
            self._ends[pid] = os.waitstatus_to_exitcode(status)
        return bool(ended)
