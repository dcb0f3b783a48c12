"""The fork server: a small single-threaded process that has imported everything an agent needs.

``python -m lab.processes.forkserver FD PARENT tpm|-`` is started once per lab. Over the socket FD
the supervisor sends one packet per process wanted, with the child's own socket attached; the answer
is its pid. A child is forked in milliseconds, shares the imported pages, and makes its
connections after the fork only. Ends of children are told back. When the socket closes, the fork
server leaves, and the kernel kills its children with it (PR_SET_PDEATHSIG), stopped ones too: no
orphan survives.
"""

from __future__ import annotations

import ctypes
import os
import resource
import selectors
import signal
import socket
import sys
from collections.abc import Callable

import msgspec

PACKET = 1 << 17
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15


class Spawned(msgspec.Struct, frozen=True, tag=True):
    """A child is there: the ``number`` of its request and its pid."""

    number: int
    pid: int


class Ended(msgspec.Struct, frozen=True, tag=True):
    """A child has ended; ``code`` is the exit code, negative for a signal."""

    pid: int
    code: int


class Spawn(msgspec.Struct, frozen=True):
    """Fork a child that runs ``agent.main(config)``; its socket comes with the packet."""

    number: int
    name: str
    config: bytes


Child = Callable[[bytes, socket.socket], None]


def bind_to_parent(parent: int, name: str) -> None:
    """In a child: die with the fork server, and be seen under ``name`` by ps and top."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    libc.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def serve(control: socket.socket, child: Child) -> None:
    """Fork children until the supervisor's end of ``control`` closes."""
    wake, wake_in = os.pipe()
    os.set_blocking(wake_in, False)
    signal.set_wakeup_fd(wake_in, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        selector.register(wake, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd == wake:
                    os.read(wake, 4096)
                    _reap(control)
                elif not _serve_one(control, child, (wake, wake_in)):
                    return


def _serve_one(control: socket.socket, child: Child, private: tuple[int, int]) -> bool:
    data, fds, _, _ = socket.recv_fds(control, PACKET, 1)
    if not data:
        return False
    wanted = msgspec.msgpack.decode(data, type=Spawn)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.setsid()
        bind_to_parent(parent, wanted.name)
        control.close()
        for fd in private:
            os.close(fd)
        try:
            child(wanted.config, socket.socket(fileno=fds[0]))
        finally:
            os._exit(0)
    os.close(fds[0])
    control.send(msgspec.msgpack.encode(Spawned(wanted.number, pid)))
    return True


def _reap(control: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        code = os.waitstatus_to_exitcode(status)
        control.send(msgspec.msgpack.encode(Ended(pid, code)))


def main() -> None:
    from lab.processes.agent import main as child
    from lab.processes.preload import preload

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # children hold keys: no core file of them
    preload(tpm=sys.argv[3] == "tpm")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=int(sys.argv[1]))
    bind_to_parent(int(sys.argv[2]), "keystead-fork")
    control.send(b"\xc0")  # ready: everything is imported
    serve(control, child)


if __name__ == "__main__":
    main()
