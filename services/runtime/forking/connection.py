"""The owner's end of a fork server: start the process, send orders, receive answers."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from services.runtime.forking.packets import (
    MARK,
    SIZE_LIMIT,
    Fork,
    ForkServerFailed,
    Kill,
    ServerPacket,
    encode,
    server_packets,
)

START_LIMIT_S: Final = 60.0  # for the server's imports; a fork itself takes a millisecond
_END_LIMIT_S: Final = 5.0
_LAUNCH: Final = (
    "import json, sys; path, *rest = json.loads(sys.argv[4]); sys.path[:] = path; "
    "from services.runtime.forking.server import main; "
    "main(int(sys.argv[2]), int(sys.argv[3]), *rest)"
)


class ForkFailed(RuntimeError):
    """The fork server did not start, has ended, or could not fork."""


class ForkServerSocket(ABC):
    """Our end of the socket to a fork server, which a subclass starts and ends."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.socket.setblocking(False)

    @property
    @abstractmethod
    def pid(self) -> int:
        """The server's pid."""

    @property
    @abstractmethod
    def ended(self) -> bool:
        """Whether the server has ended, or belongs to another process: this is a copy made by
        ``os.fork``."""

    @abstractmethod
    def close(self) -> None:
        """End the server and all its children; returns when it has ended."""

    def fork(self, order: Fork, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
        """Send the order; return our end of the child's socket, which is of this kind.

        ``BlockingIOError`` while too many orders are unread, ``ForkFailed`` without a server, and
        when this process has no descriptor left.
        """
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
        except OSError as error:
            raise ForkFailed(f"no socket for {order.name}: {error}") from error
        try:
            socket.send_fds(self.socket, [encode(order)], [theirs.fileno()])
        except BlockingIOError:
            ours.close()
            raise
        except OSError as error:
            ours.close()
            raise ForkFailed(f"the fork server is gone: {error}") from error
        finally:
            theirs.close()
        return ours

    def kill(self, pid: int) -> None:
        """End a child now. The server sends the signal: only the server knows that the pid is still
        the child's."""
        order = encode(Kill(pid))
        try:
            try:
                self.socket.send(order)
            except BlockingIOError:  # the server has many unread orders: try again in a moment
                self.wait(select.POLLOUT, _END_LIMIT_S)
                self.socket.send(order)
        except OSError:
            pass  # the server has ended, and its children with it, or it is stopped

    def wait(self, what: int, limit_s: float) -> None:
        """Wait until the socket is readable (``POLLIN``) or writable, at most ``limit_s``."""
        ready = select.poll()
        ready.register(self.socket, what)
        ready.poll(limit_s * 1000)

    @property
    def hung_up(self) -> bool:
        """Whether an end is closed; the other end also while its packets are still unread."""
        if self.socket.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(self.socket, 0)  # POLLHUP is always reported
        return bool(poll.poll(0))

    def receive(self, limit_s: float = 0.0) -> ServerPacket | None:
        """Its next packet; None when there is none within ``limit_s`` seconds.

        ``ForkFailed`` when it could not start, or has ended.
        """
        if limit_s > 0:
            self.wait(select.POLLIN, limit_s)
        try:
            data = self.socket.recv(SIZE_LIMIT)
        except BlockingIOError:
            return None
        except OSError as error:
            raise ForkFailed(f"the fork server is gone: {error}") from error
        if not data:
            raise ForkFailed("the fork server has ended")
        packet = server_packets.decode(data)
        if isinstance(packet, ForkServerFailed):
            raise ForkFailed(f"the fork server did not start: {packet.why}")
        return packet


class ForkServerConnection(ForkServerSocket):
    """A started fork server.

    ``preload`` names modules to import, or ``module:function`` to call, before it serves. ``env``
    adds to the environment, ``log`` gets its output (and its children's) instead of ours,
    ``folder`` is its working directory. If it was started in the main thread, the kernel ends it
    with that thread; it always ends when ``close`` is called or the owner's process ends.
    """

    def __init__(
        self,
        preload: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        log: IO[bytes] | None = None,
        folder: Path | None = None,
    ) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        super().__init__(ours)
        bound = threading.current_thread() is threading.main_thread()
        path = [os.path.abspath(entry) for entry in sys.path]
        settings = json.dumps([path, bound, list(preload)])
        fd, me = str(theirs.fileno()), str(os.getpid())
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  (our own interpreter and text)
                [sys.executable, "-c", _LAUNCH, MARK, fd, me, settings],
                cwd=folder,
                env={**os.environ, **(env or {})},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def close(self) -> None:
        self.socket.close()
        try:
            self._process.wait(_END_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
