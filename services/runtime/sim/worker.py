"""The worker's side of ``runner``: one function, or a conversation, over its socket.

A worker is forked from a process that has the simulation loaded (``services.runtime.forking``).
Frames on its socket are length-prefixed.
"""

from __future__ import annotations

import gc
import pickle  # spoken with the parent only, over an inherited socket
import select
import socket
import struct
import traceback
from contextlib import suppress
from typing import Any

from services.runtime.forking.child import load_target

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
