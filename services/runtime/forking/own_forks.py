"""Forks without a fork server that was started for it: of the calling process, if it has a single
thread and ends soon, or by a server that is a copy of its owner, with everything that the owner
has loaded.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Iterable
from typing import Final, Protocol

from services.runtime.forking.child import descriptors, run_child, threads
from services.runtime.forking.connection import ForkFailed, ForkServerSocket
from services.runtime.forking.packets import Fork, pack_parcel

_LOOK_EVERY_S: Final = 0.005


class Forks(Protocol):
    """A source of workers: the owner of a fork server, or ``OwnForks``."""

    def fork(self, name: str, target: str, argument: bytes = b"") -> tuple[socket.socket, int]:
        """A new child that runs ``target`` (see ``packets.Fork``): the socket to it, its pid."""
        ...

    def code_of(self, pid: int, limit_s: float = 1.0) -> int | None:
        """The exit code of a child that has ended or is about to, negative for a signal; None when
        it has not ended within ``limit_s`` seconds."""
        ...

    def kill(self, pid: int) -> None:
        """End a child now; no change when it has ended."""
        ...


class OwnForks:
    """Children of this process. They end with it; ``close`` ends them earlier."""

    def __init__(self) -> None:
        # Not waited for yet, so the kernel has not reused their pids.
        self._children: list[int] = []
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

        ``not_ours``: descriptors of this process that the child must not hold.
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
                run_child(order, its.detach(), me, (ours.detach(), *not_ours))
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
        """Record a child's end; whether there is nothing to wait for any more."""
        if pid not in self._children:
            return True
        ended, status = os.waitpid(pid, options)
        if ended:
            self._children.remove(pid)
            self._ends[pid] = os.waitstatus_to_exitcode(status)
        return bool(ended)


_NEST: Final = "services.runtime.forking.server:run_nested_server"
_END_LIMIT_S: Final = 5.0
_STREAMS: Final = frozenset({0, 1, 2})


class CopiedServer(ForkServerSocket):
    """The socket to such a server. The server keeps only the standard streams of its owner's
    descriptors.

    It waits for ``load``. What its owner learns in between, its children do not know. ``close``
    ends it, and so does the kernel when its owner ends. ``ForkFailed`` when there is a second
    thread, or the system refuses.
    """

    def __init__(self, name: str, target: str) -> None:
        self._forks, self._owner = OwnForks(), os.getpid()
        sock, self._pid = self._forks.fork(
            name,
            _NEST,
            target.encode(),
            socket.SOCK_SEQPACKET,
            not_ours=sorted(descriptors() - _STREAMS),
        )
        super().__init__(sock)

    def load(self, argument: bytes) -> None:
        """Call ``target`` (``module:function``) with ``argument`` in the server; then it serves.
        ``ForkFailed`` when it has ended."""
        try:
            for packet in pack_parcel(argument):
                self.socket.send(packet)
        except OSError as error:
            raise ForkFailed(f"the fork server is gone: {error}") from error

    @property
    def pid(self) -> int:
        return self._pid

    @property
    def ended(self) -> bool:
        return os.getpid() != self._owner or self.hung_up

    def close(self) -> None:
        """Closing ends it; if it is stopped or still loads, it is killed.

        In a copy of its owner only the copy of the socket is closed.
        """
        self.socket.close()
        if os.getpid() == self._owner and self._forks.code_of(self._pid, _END_LIMIT_S) is None:
            self._forks.close()
