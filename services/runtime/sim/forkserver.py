"""The child's side of ``runner``: a single-threaded process that forks workers and nothing else.

Started with a bare ``-c`` launcher, so the parent's main module (pytest, the CLI) is never
imported again. A request on the control socket brings the worker's end of a socket pair; the
worker is forked, answers there and leaves by ``os._exit``. When the parent is gone the control
socket ends, the server leaves, and the kernel kills its workers: no orphan survives.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import pickle  # spoken with the parent only, over an inherited socket
import resource
import select
import signal
import socket
import struct
import sys
import traceback
from typing import Any

_LENGTH = struct.Struct("!Q")
_PID = struct.Struct("!i")
_PR_SET_PDEATHSIG = 1
FORK, KILL = b"F", b"K"


def send_frame(sock: socket.socket, data: bytes) -> None:
    """One length-prefixed frame, blocking."""
    sock.sendall(_LENGTH.pack(len(data)) + data)


def receive_frame(sock: socket.socket) -> bytes | None:
    """The next frame, blocking; None when the other side has closed (also in mid-frame)."""
    head = _receive(sock, _LENGTH.size)
    return None if head is None else _receive(sock, _LENGTH.unpack(head)[0])


def _receive(sock: socket.socket, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        part = sock.recv(min(size - len(data), 1 << 20))
        if not part:
            return None
        data += part
    return bytes(data)


def serve(control_fd: int, preload: list[str]) -> None:
    """The server's whole life. Reports "ready" or why it cannot fork safely."""
    control = socket.socket(fileno=control_fd)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # workers hold keys: no core file of them
    try:
        for name in preload:
            importlib.import_module(name)
        threads = len(os.listdir("/proc/self/task"))
        if threads > 1:
            raise RuntimeError(f"{threads} threads run after loading {preload}: no safe fork")
    except BaseException:
        send_frame(control, traceback.format_exc().encode())
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()  # workers share these pages as long as nobody collects in them
    send_frame(control, b"ready")
    children: set[int] = set()
    while True:
        _reap(children)
        readable, _, _ = select.select([control], [], [], 1.0)
        if not readable:
            continue
        message, fds, _, _ = socket.recv_fds(control, 5, 1)
        if not message:
            break
        if message[:1] == KILL:
            (pid,) = _PID.unpack(message[1:])
            if pid in children:  # not reaped yet, so the number is still its own
                os.kill(pid, signal.SIGKILL)
        else:
            children.add(_fork(control, fds[0]))


def _reap(children: set[int]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        children.discard(pid)
        code = os.waitstatus_to_exitcode(status)
        if code < 0 and code != -signal.SIGKILL:
            print(f"simulation worker {pid} died of signal {-code}", file=sys.stderr, flush=True)


def _fork(control: socket.socket, fd: int) -> int:
    server = os.getpid()
    pid = os.fork()
    if pid:
        os.close(fd)
        return pid
    status = 70
    try:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != server:
            os._exit(status)
        control.close()
        gc.disable()
        _work(socket.socket(fileno=fd))
        status = 0
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                pass
        os._exit(status)


def _work(sock: socket.socket) -> None:
    """Greet with the pid; then one function, or a conversation until the other side closes."""
    send_frame(sock, _PID.pack(os.getpid()))
    first = receive_frame(sock)
    if first is None:
        return
    function, args = None, ()
    try:
        kind, function, args = pickle.loads(first)  # noqa: S301
        if kind == "run":
            answer = _packed(function(*args))
        else:
            handler = resolve(function)(*args)
            answer = _packed(None)
    except BaseException as error:
        send_frame(sock, _failure(error))
        return
    send_frame(sock, answer)
    if kind == "run":
        return
    while (frame := receive_frame(sock)) is not None:
        name, _, payload = frame.partition(b"\0")
        try:
            answer = _packed(handler(name.decode(), payload))
        except BaseException as error:
            answer = _failure(error)
        send_frame(sock, answer)


def resolve(target: str) -> Any:
    """The object that ``module:attribute`` names."""
    module, _, attribute = target.partition(":")
    found: Any = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


def _packed(result: Any) -> bytes:
    return pickle.dumps(("ok", result))


def _failure(error: BaseException) -> bytes:
    """The exception itself if it survives pickling, and always its traceback as text."""
    text = "".join(traceback.format_exception(error))
    try:
        data = pickle.dumps(("error", error, text))
        pickle.loads(data)  # noqa: S301
    except Exception:
        data = pickle.dumps(("error", None, text))
    return data
