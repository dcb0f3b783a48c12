"""Runs of the simulation in processes of their own, forked from one with a single thread.

A worker serves one function, or a conversation, over its socket.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import gc
import pickle  # spoken with the parent only, over an inherited socket
import select
import socket
import struct
import threading
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, TypeVar

from services.runtime.forking.blocking import ForkServer
from services.runtime.forking.child import load_target
from services.runtime.forking.connection import ForkFailed
from services.runtime.forking.own_forks import Forks

LENGTH = struct.Struct("!Q")


def send_frame(sock: socket.socket, data: bytes) -> None:
    """One length-prefixed frame, blocking."""
    sock.sendall(LENGTH.pack(len(data)) + data)


def receive_frame(sock: socket.socket) -> bytes | None:
    """The next frame, blocking; None when the other side has closed (also in mid-frame)."""
    head = _receive(sock, LENGTH.size)
    return None if head is None else _receive(sock, LENGTH.unpack(head)[0])


def _receive(sock: socket.socket, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        part = sock.recv(min(size - len(data), 1 << 20))
        if not part:
            return None
        data += part
    return bytes(data)


class WorkerSocket:
    """The channel from a running function in a worker to its caller."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def send(self, message: Any) -> None:
        """Send something to the caller; ``word`` must pickle."""
        send_frame(self._sock, pickle.dumps(("message", message)))

    def is_stop_requested(self) -> bool:
        """Whether the caller asks it to stop; the caller still waits for the result."""
        return bool(select.select([self._sock], [], [], 0)[0])


def run_worker(argument: bytes, sock: socket.socket) -> None:
    """The life of a worker: one function, or a conversation until the other side closes.

    The garbage collector is off: the moments at which it runs depend on earlier allocations.
    """
    gc.disable()
    with suppress(ConnectionError):  # the other side closed while it was answered
        _run_order(sock)


def _run_order(sock: socket.socket) -> None:
    first = receive_frame(sock)
    if first is None:
        return
    function, args = None, ()
    try:
        kind, function, args = pickle.loads(first)  # noqa: S301
        if kind == "run":
            answer = _pack_result(function(*args))
        elif kind == "stream":
            answer = _pack_result(function(*args, line=WorkerSocket(sock)))
        else:
            handler = load_target(function)(*args)
            answer = _pack_result(None)
    except BaseException as error:
        send_frame(sock, _pack_failure(error))
        return
    send_frame(sock, answer)
    if kind != "talk":
        return
    while (frame := receive_frame(sock)) is not None:
        name, _, payload = frame.partition(b"\0")
        try:
            answer = _pack_result(handler(name.decode(), payload))
        except BaseException as error:
            answer = _pack_failure(error)
        send_frame(sock, answer)


def _pack_result(result: Any) -> bytes:
    return pickle.dumps(("ok", result))


def _pack_failure(error: BaseException) -> bytes:
    """The exception itself if it survives pickling, and always its traceback as text."""
    text = "".join(traceback.format_exception(error))
    try:
        data = pickle.dumps(("error", error, text))
        pickle.loads(data)  # noqa: S301
    except Exception:
        data = pickle.dumps(("error", None, text))
    return data


T = TypeVar("T")
STOP = b"\0"
Stopping = Callable[[Callable[[], None]], AbstractContextManager[None]]
"""A context; within it, the given function may be called to ask the worker to stop."""


def never_stopping(stop: Callable[[], None]) -> AbstractContextManager[None]:
    """The default of ``stopping``: nothing asks the worker to stop."""
    return nullcontext()


class WorkerDied(RuntimeError):
    """The worker or the fork server ended without an answer."""


class WorkerFailed(RuntimeError):
    """The worker raised an exception that cannot be pickled; the text is its traceback."""


@functools.cache
def default_server() -> ForkServer:
    """The server of this process, with the simulation loaded; it ends with the process."""
    server = ForkServer(("services.runtime.sim.loop", "services.runtime.sim.bus"))
    atexit.register(server.close)
    return server


def _fork(server: Forks) -> tuple[socket.socket, int]:
    try:
        return server.fork("ks-simulation", "services.runtime.sim.runner:run_worker")
    except ForkFailed as error:
        raise WorkerDied(str(error)) from error


async def _fork_in_thread(server: ForkServer) -> tuple[socket.socket, int]:
    """As ``_fork``, without blocking. If it is cancelled, it kills the worker that the thread still
    forks."""
    made: list[socket.socket] = []
    abandoned = threading.Event()

    def fork() -> tuple[socket.socket, int]:
        sock, pid = _fork(server)
        made.append(sock)
        if abandoned.is_set():
            sock.close()
        return sock, pid

    try:
        return await asyncio.to_thread(fork)
    except BaseException:
        abandoned.set()
        for sock in made:
            sock.close()
        raise


def _worker_died_error(server: Forks, pid: int) -> WorkerDied:
    code = server.code_of(pid)
    how = "" if code is None else f", killed by signal {-code}" if code < 0 else f", exit {code}"
    return WorkerDied(f"the worker ended without an answer{how}")


def _unpack_answer(answer: bytes | None) -> Any:
    """The result in a worker's answer, or its exception, with the traceback as a note."""
    if answer is None:
        raise WorkerDied("the worker ended without an answer")
    kind, *rest = pickle.loads(answer)  # noqa: S301
    if kind == "ok":
        return rest[0]
    error, text = rest
    if error is None:
        raise WorkerFailed(text)
    error.add_note(f"In the worker:\n{text}")
    raise error


def run_in_worker(
    function: Callable[..., T],
    *args: Any,
    timeout_s: float | None = None,
    server: Forks | None = None,
    on_message: Callable[[Any], None] | None = None,
    stopping: Stopping = never_stopping,
) -> T:
    """Call ``function(*args)`` in a new worker and return its result. Blocks.

    With ``on_message`` the function gets a keyword ``line`` (``runner.WorkerSocket``), and
    ``on_message`` is called with each message that it sends there. Within ``stopping`` it can be
    asked to stop; its result is still awaited.

    ``function`` must be importable by name; arguments and result must pickle. An exception is
    raised here unchanged, with the worker's traceback as a note (``WorkerFailed`` when it does not
    pickle). ``TimeoutError`` after ``timeout_s`` wall seconds, the worker is killed; ``WorkerDied``
    when it ended without an answer.
    """
    server = server or default_server()
    request = pickle.dumps(("run" if on_message is None else "stream", function, args))
    sock, pid = _fork(server)
    with sock:
        sock.settimeout(timeout_s)
        try:
            send_frame(sock, request)
            with stopping(lambda: sock.sendall(STOP)):
                answer = receive_frame(sock)
                while (
                    on_message is not None
                    and answer is not None
                    and _pass_message(answer, on_message)
                ):
                    answer = receive_frame(sock)
        except TimeoutError:
            server.kill(pid)
            raise TimeoutError(f"the worker had no result within {timeout_s:g} s") from None
        except OSError:
            answer = None
        except BaseException:
            server.kill(pid)
            raise
    if answer is None:
        raise _worker_died_error(server, pid)
    result: T = _unpack_answer(answer)
    return result


def _pass_message(answer: bytes, on_message: Callable[[Any], None]) -> bool:
    """Pass a message of the worker to ``on_message``; False when ``answer`` is the result."""
    kind, *rest = pickle.loads(answer)  # noqa: S301
    if kind == "message":
        on_message(rest[0])
    return bool(kind == "message")


class Worker:
    """A long-lived worker for blocking callers; see ``Conversation``."""

    def __init__(
        self,
        target: str,
        *args: Any,
        timeout_s: float | None = None,
        server: ForkServer | None = None,
    ) -> None:
        self._server = server or default_server()
        self._sock, self.pid = _fork(self._server)
        self._closed = False
        try:
            self._exchange(pickle.dumps(("talk", target, args)), timeout_s)
        except BaseException:
            self.kill()
            raise

    def call(self, name: str, payload: bytes = b"", *, timeout_s: float | None = None) -> bytes:
        """Send one call and wait for its answer. After ``TimeoutError`` the worker is dead."""
        answer: bytes = self._exchange(name.encode() + b"\0" + payload, timeout_s)
        return answer

    def _exchange(self, frame: bytes, timeout_s: float | None) -> Any:
        if self._closed:
            raise WorkerDied("the worker is closed")
        try:
            self._sock.settimeout(timeout_s)
            send_frame(self._sock, frame)
            answer = receive_frame(self._sock)
        except TimeoutError:
            self.kill()
            raise TimeoutError(f"the worker had no answer within {timeout_s:g} s") from None
        except OSError:
            answer = None
        except BaseException:
            self.kill()  # an answer may still come: the next call would take it for its own
            raise
        if answer is None:
            self.kill()
        return _unpack_answer(answer)

    def close(self) -> None:
        """Close the pipe; the worker ends when it has read its end."""
        if not self._closed:
            self._closed = True
            self._sock.close()

    def kill(self) -> None:
        """End the worker now."""
        if not self._closed:
            self._server.kill(self.pid)
            self.close()


class Conversation:
    """A long-lived worker for callers on a stock event loop; calls are answered in order.

    ``target`` is ``module:attribute`` of a function. ``target(*args)`` runs once in the worker and
    returns the handler, ``handler(name: str, payload: bytes) -> bytes``, which answers every call.
    An exception of the handler is raised by ``call``; the worker continues.
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
        self = cls(server, *await _fork_in_thread(server))
        try:
            await self._exchange(pickle.dumps(("talk", target, args)))
        except BaseException:
            self.kill()
            raise
        return self

    async def call(self, name: str, payload: bytes = b"") -> bytes:
        """Send one call and wait for its answer. If cancelled it kills the worker, whose state is
        unknown then."""
        answer: bytes = await self._exchange(name.encode() + b"\0" + payload)
        return answer

    async def _exchange(self, frame: bytes) -> Any:
        async with self._turn:
            if self._closed:
                raise WorkerDied("the worker is closed")
            loop = asyncio.get_running_loop()
            try:
                await loop.sock_sendall(self._sock, LENGTH.pack(len(frame)) + frame)
                head = await self._receive(LENGTH.size)
                answer = head and await self._receive(LENGTH.unpack(head)[0])
            except OSError:
                answer = None
            except BaseException:
                self.kill()
                raise
            if not answer:
                self.kill()
        return _unpack_answer(answer or None)

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
        """Close the pipe after the running call; the worker ends when it has read its end."""
        async with self._turn:
            if not self._closed:
                self._closed = True
                self._sock.close()

    def kill(self) -> None:
        """End the worker now."""
        if not self._closed:
            self._closed = True
            self._server.kill(self.pid)
            self._sock.close()
