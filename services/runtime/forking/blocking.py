"""A fork server for callers that block, from any thread."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable, Sequence

from services.runtime.forking.connection import START_LIMIT_S, Connection, ForkFailed
from services.runtime.forking.packets import Fork, Forked, NotForked, Ready, Word


class ForkServer:
    """A process with ``preload`` loaded, that forks workers. Starts at the first use, and again
    after it was killed, and in a copy that ``os.fork`` makes of its owner.

    ``preload`` and ``env`` are those of ``Connection``. Safe to use from threads.
    """

    def __init__(self, preload: Sequence[str] = (), *, env: dict[str, str] | None = None) -> None:
        self._preload, self._env = list(preload), env or {}
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._number = 0

    @property
    def pid(self) -> int | None:
        """The server's, None before it was started."""
        return None if self._connection is None else self._connection.pid

    def start(self) -> None:
        """Start it and wait until it can fork. ``ForkFailed`` says why it cannot."""
        with self._lock:
            self._started()

    def _started(self) -> Connection:
        if self._connection is not None and self._connection.ended:
            self._connection.close()
            self._connection = None
        if self._connection is None:
            made = Connection(self._preload, env=self._env)
            try:
                _hear(made, lambda word: isinstance(word, Ready))
            except BaseException:
                made.close()
                raise
            self._connection = made
        return self._connection

    def fork(self, name: str, target: str, argument: bytes = b"") -> tuple[socket.socket, int]:
        """A new child that runs ``target`` (see ``packets.Fork``): the socket to it, its pid.

        ``ForkFailed`` when there is no server or the system refuses.
        """
        with self._lock:
            connection = self._started()
            self._number += 1
            number = self._number
            sock = _send(connection, Fork(number, name, target, argument))
            try:
                word = _hear(
                    connection,
                    lambda word: isinstance(word, Forked | NotForked) and word.number == number,
                )
            except BaseException:
                sock.close()
                raise
        if isinstance(word, Forked):
            return sock, word.pid
        sock.close()
        why = word.why if isinstance(word, NotForked) else word
        raise ForkFailed(f"{name} was not forked: {why}")

    def kill(self, pid: int) -> None:
        """End a child now, whatever it does; nothing when it has ended."""
        with self._lock:
            if self._connection is not None:
                self._connection.kill(pid)

    def close(self) -> None:
        """End the server and with it every child that still runs."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


def _send(connection: Connection, order: Fork) -> socket.socket:
    """Our end of the child's socket; waits as long as other orders are still to be read."""
    until = time.monotonic() + START_LIMIT_S
    while (left := until - time.monotonic()) > 0:
        try:
            return connection.fork(order)
        except BlockingIOError:
            connection.wait(select.POLLOUT, left)
    raise ForkFailed(f"the fork server did not listen within {START_LIMIT_S:g} s")


def _hear(connection: Connection, wanted: Callable[[Word], bool]) -> Word:
    """The next word that is ``wanted``; ends of children, which nobody asked for, go by."""
    until = time.monotonic() + START_LIMIT_S
    while (left := until - time.monotonic()) > 0:
        word = connection.hear(left)
        if word is not None and wanted(word):
            return word
    raise ForkFailed(f"the fork server did not answer within {START_LIMIT_S:g} s")
