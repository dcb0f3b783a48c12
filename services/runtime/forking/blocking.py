"""A fork server for callers that block, from any thread."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from services.runtime.forking.connection import (
    START_LIMIT_S,
    ForkFailed,
    ForkServerConnection,
    ForkServerSocket,
)
from services.runtime.forking.packets import (
    ChildEnded,
    ChildForked,
    Fork,
    NotForked,
    Ready,
    ServerPacket,
    pack_parcel,
)

_NEST: Final = "services.runtime.forking.server:run_nested_server"
_ENDS_KEPT: Final = 1024  # exit codes of ended children, for ``code_of``
_END_LIMIT_S: Final = 5.0  # for a process to end after its socket was closed


class ForkServer:
    """A process with ``preload`` loaded that forks workers. It starts at the first use, and again
    after it was killed, and in a copy of its owner made by ``os.fork``.

    ``preload`` and ``env`` are those of ``ForkServerConnection``. Thread-safe.
    """

    start_limit_s = START_LIMIT_S

    def __init__(self, preload: Sequence[str] = (), *, env: dict[str, str] | None = None) -> None:
        self._preload, self._env = list(preload), env or {}
        self._lock = threading.Lock()
        self._connection: ForkServerSocket | None = None
        self._number = 0
        self._ends: dict[int, int] = {}

    @property
    def pid(self) -> int | None:
        """The server's pid; None before its start and after its end."""
        line = self._connection
        return None if line is None or line.ended else line.pid

    def start(self) -> None:
        """Start it and wait until it can fork. ``ForkFailed`` has the reason if it cannot."""
        with self._lock:
            self._ensure_started()

    def _connect(self) -> ForkServerSocket:
        """Start a server, which begins to load."""
        return ForkServerConnection(self._preload, env=self._env)

    def _ensure_started(self) -> ForkServerSocket:
        if self._connection is not None and self._connection.ended:
            self._connection.close()
            self._connection = None
        if self._connection is None:
            made = self._connect()
            self._ends.clear()
            try:
                self._wait_for_packet(
                    made, lambda word: isinstance(word, Ready), self.start_limit_s
                )
            except BaseException:
                made.close()
                raise
            self._connection = made
        return self._connection

    def fork(
        self,
        name: str,
        target: str,
        argument: bytes = b"",
        kind: socket.SocketKind = socket.SOCK_STREAM,
    ) -> tuple[socket.socket, int]:
        """A new child that runs ``target`` (see ``packets.Fork``): the socket to it, its pid.

        ``ForkFailed`` when there is no server or the system refuses.
        """
        with self._lock:
            connection = self._ensure_started()
            self._number += 1
            number = self._number
            sock = _send(connection, Fork(number, name, target, argument), kind)
            try:
                packet = self._wait_for_packet(
                    connection,
                    lambda packet: (
                        isinstance(packet, ChildForked | NotForked) and packet.number == number
                    ),
                )
            except BaseException:
                sock.close()
                raise
            if isinstance(packet, ChildForked):
                self._ends.pop(packet.pid, None)  # an older child had this pid
                return sock, packet.pid
        sock.close()
        why = packet.why if isinstance(packet, NotForked) else packet
        raise ForkFailed(f"{name} was not forked: {why}")

    def _wait_for_packet(
        self,
        connection: ForkServerSocket,
        wanted: Callable[[ServerPacket], bool],
        limit_s: float = START_LIMIT_S,
    ) -> ServerPacket:
        """The next packet that is ``wanted``; ends of children are recorded on the way."""
        until = time.monotonic() + limit_s
        while (left := until - time.monotonic()) > 0:
            packet = connection.receive(left)
            if isinstance(packet, ChildEnded):
                self._ends[packet.pid] = packet.code
                while len(self._ends) > _ENDS_KEPT:
                    del self._ends[next(iter(self._ends))]
            if packet is not None and wanted(packet):
                return packet
        raise ForkFailed(f"the fork server did not answer within {limit_s:g} s")

    def code_of(self, pid: int, limit_s: float = 1.0) -> int | None:
        """The exit code of a child that has ended or is about to, negative for a signal; None when
        no end was received within ``limit_s`` seconds, or it was too long ago."""
        with self._lock:
            if pid not in self._ends and self._connection is not None:
                with suppress(ForkFailed):
                    self._wait_for_packet(
                        self._connection,
                        lambda word: isinstance(word, ChildEnded) and word.pid == pid,
                        limit_s,
                    )
            return self._ends.get(pid)

    def kill(self, pid: int) -> None:
        """End a child now; no change when it has ended."""
        with self._lock:
            if self._connection is not None:
                self._connection.kill(pid)

    def close(self) -> None:
        """End the server and with it every child that still runs."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


def _send(connection: ForkServerSocket, order: Fork, kind: socket.SocketKind) -> socket.socket:
    """Our end of the child's socket; waits as long as other orders are still to be read."""
    until = time.monotonic() + START_LIMIT_S
    while (left := until - time.monotonic()) > 0:
        try:
            return connection.fork(order, kind)
        except BlockingIOError:
            connection.wait(select.POLLOUT, left)
    raise ForkFailed(f"the fork server read no order within {START_LIMIT_S:g} s")


class NestedForkServer(ForkServer):
    """A fork server that is a child of another one: what it loads comes on top of what that one
    has, and its own children share both.

    ``target`` (``module:function``) loads it: it is called there with ``argument``, and has
    ``start_limit_s`` seconds. It ends with its owner and with ``above``; after that the next use
    starts it again. ``close`` is for good, and ends it while it still loads, too.
    """

    def __init__(
        self,
        above: ForkServer,
        name: str,
        target: str,
        argument: bytes = b"",
        *,
        start_limit_s: float = START_LIMIT_S,
    ) -> None:
        super().__init__()
        self.start_limit_s = start_limit_s
        self._above, self._name, self._target, self._argument = above, name, target, argument
        self._child: _Child | None = None  # set when it is forked
        self._closed = False

    def _connect(self) -> ForkServerSocket:
        if self._closed:
            raise ForkFailed(f"{self._name} was closed")
        sock, pid = self._above.fork(
            self._name, _NEST, self._target.encode(), socket.SOCK_SEQPACKET
        )
        line = self._child = _Child(sock, pid, self._above)
        until = time.monotonic() + self.start_limit_s
        try:
            if self._closed:  # another thread closed it before it saw the child
                raise ForkFailed(f"{self._name} was closed")
            for packet in pack_parcel(self._argument):
                _send_packet(line, packet, until)
        except BaseException:
            line.close()
            raise
        return line

    def close(self) -> None:
        """End the server and its children. Callers that start it or wait for it get
        ``ForkFailed``."""
        self._closed = True
        child = self._child
        if child is not None and not child.ended:
            self._above.kill(child.pid)
        super().close()


def _send_packet(line: ForkServerSocket, packet: bytes, until: float) -> None:
    """Send one packet as soon as there is room; ``ForkFailed`` after ``until``."""
    while (left := until - time.monotonic()) > 0:
        try:
            line.socket.send(packet)
        except BlockingIOError:
            line.wait(select.POLLOUT, left)
        except OSError as error:
            raise ForkFailed(f"the fork server is gone: {error}") from error
        else:
            return
    raise ForkFailed("the fork server reads no orders")


class _Child(ForkServerSocket):
    """The socket to a fork server that another one has forked for us."""

    def __init__(self, sock: socket.socket, pid: int, above: ForkServer) -> None:
        super().__init__(sock)
        self._pid, self._above, self._owner = pid, above, os.getpid()

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
        if os.getpid() == self._owner and self._above.code_of(self._pid, _END_LIMIT_S) is None:
            self._above.kill(self._pid)
            self._above.code_of(self._pid, _END_LIMIT_S)
