"""Runs of the simulation in processes of their own, forked from a clean, single-threaded server.

``run_in_worker`` is one call; ``Conversation`` (``Worker`` for blocking callers) is a worker
that stays and answers call after call. Nothing is forked from the process that uses this:
pytest and the CLI have threads and open files that a fork would tear.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import json
import os
import pickle  # spoken with our own workers only
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from services.runtime.sim.forkserver import FORK, KILL, receive_frame, send_frame

T = TypeVar("T")

_LAUNCH = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from services.runtime.sim.forkserver import serve; "
    "serve(int(sys.argv[1]), json.loads(sys.argv[3]))"
)
_PID = struct.Struct("!i")
_LENGTH = struct.Struct("!Q")
_GREETING_LIMIT = 60.0  # seconds for the server's imports; a fork itself takes a millisecond


class WorkerDied(RuntimeError):
    """The worker or the fork server ended without an answer."""


class WorkerFailed(RuntimeError):
    """The worker raised something that cannot be sent; the text is its traceback."""


class ForkServer:
    """A process with ``preload`` imported, that forks workers. Starts at the first use.

    ``env`` adds to the environment (``{"PYTHONHASHSEED": "1"}``). Safe to use from threads.
    """

    def __init__(self, preload: Sequence[str] = (), *, env: dict[str, str] | None = None) -> None:
        self._preload = list(preload)
        self._env = env or {}
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def start(self) -> None:
        """Start it and wait until it can fork. ``WorkerDied`` says why it cannot."""
        with self._lock:
            self._started()

    def _started(self) -> socket.socket:
        if self._control is not None:
            return self._control
        ours, theirs = socket.socketpair()
        path = [os.path.abspath(entry) for entry in sys.path]
        self._process = subprocess.Popen(  # noqa: S603  (our own interpreter and text)
            [
                sys.executable,
                "-c",
                _LAUNCH,
                str(theirs.fileno()),
                json.dumps(path),
                json.dumps(self._preload),
            ],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env={**os.environ, **self._env},
            start_new_session=True,  # Ctrl-C at the terminal is for the parent to handle
        )
        theirs.close()
        ours.settimeout(_GREETING_LIMIT)
        word = receive_frame(ours)
        ours.settimeout(None)
        if word != b"ready":
            ours.close()
            self._process.wait()
            self._process = None
            raise WorkerDied(f"the fork server did not start: {(word or b'').decode()}")
        self._control = ours
        return ours

    def fork(self) -> tuple[socket.socket, int]:
        """A new worker: the socket to it, and its pid."""
        ours, theirs = socket.socketpair()
        try:
            with self._lock:
                control = self._started()
                socket.send_fds(control, [FORK + bytes(4)], [theirs.fileno()])
        except OSError as error:
            ours.close()
            raise WorkerDied(f"the fork server is gone: {error}") from error
        finally:
            theirs.close()
        ours.settimeout(_GREETING_LIMIT)
        greeting = receive_frame(ours)
        ours.settimeout(None)
        if greeting is None:
            ours.close()
            raise WorkerDied("the worker died before it began")
        return ours, _PID.unpack(greeting)[0]

    def kill(self, pid: int) -> None:
        """End a worker now. The server does it: only it knows that the pid is still the worker."""
        with self._lock:
            if self._control is not None:
                try:
                    self._control.sendall(KILL + _PID.pack(pid))
                except OSError:
                    pass  # the server is gone, and its workers with it

    def close(self) -> None:
        """End the server and with it every worker that still runs."""
        with self._lock:
            if self._control is not None:
                self._control.close()
                self._control = None
            if self._process is not None:
                self._process.wait()
                self._process = None


@functools.cache
def default_server() -> ForkServer:
    """The server of this process, with the simulation loaded; it ends with the process."""
    server = ForkServer(("services.runtime.sim.loop", "services.runtime.sim.bus"))
    atexit.register(server.close)
    return server


def _opened(answer: bytes | None) -> Any:
    """The result in a worker's answer, or its exception, with the traceback as a note."""
    if answer is None:
        raise WorkerDied("the worker ended without an answer")
    word, *rest = pickle.loads(answer)  # noqa: S301
    if word == "ok":
        return rest[0]
    error, text = rest
    if error is None:
        raise WorkerFailed(text)
    error.add_note(f"In the worker:\n{text}")
    raise error


def run_in_worker(
    function: Callable[..., T],
    *args: Any,
    timeout: float | None = None,
    server: ForkServer | None = None,
) -> T:
    """Call ``function(*args)`` in a fresh worker and return its result. Blocks.

    ``function`` must be importable by name; arguments and result must pickle. An exception comes
    back as itself with the worker's traceback as a note (``WorkerFailed`` when it does not
    pickle). ``TimeoutError`` after ``timeout`` wall seconds, the worker is killed;
    ``WorkerDied`` when it ended without an answer.
    """
    server = server or default_server()
    request = pickle.dumps(("run", function, args))
    sock, pid = server.fork()
    with sock:
        sock.settimeout(timeout)
        try:
            send_frame(sock, request)
            answer = receive_frame(sock)
        except TimeoutError:
            server.kill(pid)
            raise TimeoutError(f"the worker had no result within {timeout:g} s") from None
        except OSError:
            answer = None
        except BaseException:
            server.kill(pid)
            raise
    result: T = _opened(answer)
    return result


class Worker:
    """A long-lived worker for blocking callers; see ``Conversation``."""

    def __init__(
        self,
        target: str,
        *args: Any,
        timeout: float | None = None,
        server: ForkServer | None = None,
    ) -> None:
        self._server = server or default_server()
        self._sock, self.pid = self._server.fork()
        self._closed = False
        try:
            self._exchange(pickle.dumps(("talk", target, args)), timeout)
        except BaseException:
            self.kill()
            raise

    def call(self, name: str, payload: bytes = b"", *, timeout: float | None = None) -> bytes:
        """Send one call and wait for its answer. After ``TimeoutError`` the worker is dead."""
        answer: bytes = self._exchange(name.encode() + b"\0" + payload, timeout)
        return answer

    def _exchange(self, frame: bytes, timeout: float | None) -> Any:
        if self._closed:
            raise WorkerDied("the worker is closed")
        try:
            self._sock.settimeout(timeout)
            send_frame(self._sock, frame)
            answer = receive_frame(self._sock)
        except TimeoutError:
            self.kill()
            raise TimeoutError(f"the worker had no answer within {timeout:g} s") from None
        except OSError:
            answer = None
        except BaseException:
            self.kill()  # an answer may still come: the next call would take it for its own
            raise
        if answer is None:
            self.kill()
        return _opened(answer)

    def close(self) -> None:
        """Close the pipe; the worker leaves when it has read its end."""
        if not self._closed:
            self._closed = True
            self._sock.close()

    def kill(self) -> None:
        """End the worker now, whatever it does."""
        if not self._closed:
            self._server.kill(self.pid)
            self.close()


class Conversation:
    """A worker that stays, for callers on a stock event loop; calls are answered in order.

    ``target`` is ``module:attribute`` of a function; ``target(*args)`` runs in the worker once
    and returns the handler, ``handler(name: str, payload: bytes) -> bytes``, which answers every
    call. An exception of the handler is raised by ``call``; the worker goes on.
    """

    def __init__(self, server: ForkServer, sock: socket.socket, pid: int) -> None:
        self.pid = pid
        self._server = server
        self._sock = sock
        self._turn = asyncio.Lock()
        self._closed = False
        sock.setblocking(False)

    @classmethod
    async def open(cls, target: str, *args: Any, server: ForkServer | None = None) -> Conversation:
        """Fork the worker and wait until ``target`` has returned; raises what it raised."""
        server = server or default_server()
        self = cls(server, *await asyncio.to_thread(server.fork))
        try:
            await self._exchange(pickle.dumps(("talk", target, args)))
        except BaseException:
            self.kill()
            raise
        return self

    async def call(self, name: str, payload: bytes = b"") -> bytes:
        """One call. Cancelled in the middle it kills the worker: its state is unknown then."""
        answer: bytes = await self._exchange(name.encode() + b"\0" + payload)
        return answer

    async def _exchange(self, frame: bytes) -> Any:
        async with self._turn:
            if self._closed:
                raise WorkerDied("the worker is closed")
            loop = asyncio.get_running_loop()
            try:
                await loop.sock_sendall(self._sock, _LENGTH.pack(len(frame)) + frame)
                head = await self._receive(_LENGTH.size)
                answer = head and await self._receive(_LENGTH.unpack(head)[0])
            except OSError:
                answer = None
            except BaseException:
                self.kill()
                raise
            if not answer:
                self.kill()
        return _opened(answer or None)

    async def _receive(self, size: int) -> bytes | None:
        loop = asyncio.get_running_loop()
        data = bytearray()
        while len(data) < size:
            part = await loop.sock_recv(self._sock, min(size - len(data), 1 << 20))
            if not part:
                return None
            data += part
        return bytes(data)

    async def close(self) -> None:
        """Close the pipe after the running call; the worker leaves when it has read its end."""
        async with self._turn:
            if not self._closed:
                self._closed = True
                self._sock.close()

    def kill(self) -> None:
        """End the worker now, whatever it does."""
        if not self._closed:
            self._closed = True
            self._server.kill(self.pid)
            self._sock.close()
