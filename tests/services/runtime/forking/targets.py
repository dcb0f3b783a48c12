"""What children of a fork server run in these tests."""

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
import sys


def echo(argument: bytes, line: socket.socket) -> None:
    """Say ``argument``, then leave when the other end closes."""
    if argument:  # sending nothing fails, too, when the other end has closed meanwhile
        line.sendall(argument)
    line.recv(1)


def fail(argument: bytes, line: socket.socket) -> None:
    raise RuntimeError(argument.decode())


def leave(argument: bytes, line: socket.socket) -> None:
    """End with the exit code, or by the signal (negative), that ``argument`` says."""
    code = int(argument)
    if code < 0:
        os.kill(os.getpid(), -code)
        signal.pause()
    os._exit(code)


def silent(argument: bytes, line: socket.socket) -> None:
    """Leave a file of that name that tells our pid, and care for nothing."""
    path = argument.decode()
    with open(path + ".new", "w") as file:
        file.write(str(os.getpid()))
    os.rename(path + ".new", path)
    mute(argument, line)


def mute(argument: bytes, line: socket.socket) -> None:
    """Say nothing and care for nothing."""
    while True:
        signal.pause()


def collects(argument: bytes, line: socket.socket) -> None:
    """Say whether the garbage collector is at work."""
    line.sendall(str(gc.isenabled()).encode())


_NOTED: list[str] = []


def note(argument: bytes) -> None:
    """A preload: whether this module is loaded already."""
    name = argument.decode()
    _NOTED.append(f"{name} was {'there' if name in sys.modules else 'missing'}")


def noted(argument: bytes, line: socket.socket) -> None:
    """Say what ``note`` has found."""
    line.sendall(" ".join(_NOTED).encode())


def few_descriptors() -> None:
    """A preload: what this process has may stay open, one more may not."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (5, most))


def describe(argument: bytes, line: socket.socket) -> None:
    """What one sees of a child: name, session, limits, threads, descriptors, interrupt, modules."""
    with open("/proc/self/comm") as comm:
        name = comm.read().strip()
    facts = (
        name,
        os.getsid(0) == os.getpid(),
        resource.getrlimit(resource.RLIMIT_CORE),
        len(os.listdir("/proc/self/task")),
        # Standard streams, the line, and the one that lists them.
        len(os.listdir("/proc/self/fd")),
        signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
        "tests.services.runtime.forking.targets" in sys.modules,
        "pytest" in sys.modules,
    )
    line.sendall(repr(facts).encode())
