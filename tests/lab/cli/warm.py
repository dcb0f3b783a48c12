"""Commands in processes of their own that need not load the program first.

Of a short command's time nine tenths go into the start of Python and into imports. Here one process
(``python -m tests.lab.cli.warm``), which has loaded the program and has a single thread, is forked
for each command: arguments, environment, standard streams, session, signals and exit code are those
of a process that was started. How a process begins and how it ends is no part of this:
tests of that have ``Cli.begin``.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from lab.supervise.launching import ROOT
from tests.lab.cli.posing import ROOM

LIMIT_S = 100.0
_LARGEST = 1 << 20  # bytes of an order
_ADDRESS: list[str] = []  # in that process, where it is reached


class Warm:
    """One such process; it ends with whoever made it, or at ``close``."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="keystead-warm-")
        self.address = str(Path(self._folder.name) / "socket")
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listening.bind(self.address)
        listening.listen(16)
        ours, theirs = socket.socketpair()
        self._life = ours
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__, *(str(s.fileno()) for s in (listening, theirs)), ROOM],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            pass_fds=(listening.fileno(), theirs.fileno()),
        )
        listening.close()
        theirs.close()

    def run(self, arguments: list[str], environment: dict[str, str]) -> tuple[int, str, str]:
        """Exit code, negative for a signal, of ``keystead ARGUMENTS``, and what it has said; from
        any thread. After ``LIMIT_S`` a ``TimeoutError``, and the command's end."""
        order = json.dumps({"arguments": arguments, "environment": environment}).encode()
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line,
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
        ):
            line.settimeout(LIMIT_S)
            line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LARGEST)
            line.connect(self.address)
            socket.send_fds(line, [order], [out.fileno(), err.fileno()])
            answer = line.recv(64)
            assert answer, "the process that is forked for commands has ended"
            said = [os.pread(f.fileno(), os.fstat(f.fileno()).st_size, 0) for f in (out, err)]
        return int(answer), said[0].decode(), said[1].decode()

    def close(self) -> None:
        self._life.close()
        self.process.wait(10)
        self._folder.cleanup()


@functools.cache
def process() -> Warm:
    """That of this process of the tests."""
    made = Warm()
    atexit.register(made.close)
    return made


def running() -> Warm | None:
    """The same, if it is there."""
    return process() if process.cache_info().currsize else None


def _serve(listening: socket.socket, life: socket.socket) -> None:
    """Until ``life`` ends: a child for each order, and its exit code when it has ended."""
    waiting = selectors.DefaultSelector()
    waiting.register(listening, selectors.EVENT_READ)
    waiting.register(life, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            if waiting.get_map().get(key.fd) is not key:  # its other half has just been told
                continue
            if key.fileobj is life:
                return
            if key.fileobj is listening:
                line, _address = listening.accept()
                pid = _forked(line, (listening, life))
                end = os.pidfd_open(pid)
                waiting.register(line, selectors.EVENT_READ, pid)
                waiting.register(end, selectors.EVENT_READ, (pid, line))
            elif isinstance(key.data, int):  # nobody waits for it any more
                os.kill(key.data, signal.SIGKILL)
                waiting.unregister(key.fileobj)
            else:
                _tell(waiting, key)


def _tell(waiting: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    """The exit code of a child that has ended, to who waits for it."""
    pid, line = key.data
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with suppress(KeyError):
        waiting.unregister(line)
    waiting.unregister(key.fileobj)
    os.close(key.fd)
    with line, suppress(OSError):
        line.send(str(code).encode())


def _forked(line: socket.socket, others: tuple[socket.socket, ...]) -> int:
    order, streams, _, _ = socket.recv_fds(line, _LARGEST, 2)
    assert threading.active_count() == 1
    pid = os.fork()
    if pid == 0:
        for other in (line, *others):
            other.close()
        made = json.loads(order)
        if "fork_server" in made:
            from tests.lab.cli.warm_servers import serve

            serve(made["fork_server"], *streams)
        _live(made, *streams)
    for fd in streams:
        os.close(fd)
    if order.startswith(b'{"fork_server"'):
        with suppress(OSError):
            line.send(str(pid).encode())
    return pid


def _live(order: dict[str, object], out: int, err: int) -> NoReturn:
    """The child: what ``python -m lab.cli.main`` does, and nothing of its parent's at the end."""
    from lab.cli.main import main
    from lab.supervise.launching import Start
    from tests.lab.cli import warm_servers
    from tests.lab.cli.warm_labs import spawned

    code: object = 70
    try:
        os.setsid()
        os.dup2(out, 1)
        os.dup2(err, 2)
        for fd in (out, err):
            os.close(fd)
        os.environ.clear()
        os.environ.update(order["environment"])  # type: ignore[call-overload]
        sys.argv = ["keystead", *order["arguments"]]  # type: ignore[misc]
        Start._spawn = spawned  # type: ignore[assignment,method-assign]
        warm_servers.use(_ADDRESS[0])
        try:
            main()
        except SystemExit as left:
            code = left.code or 0
        except BaseException:  # as the interpreter tells it
            code = 1
            traceback.print_exc()
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(code if isinstance(code, int) else 1)


def _main() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("protocol", "services", "chaos", "lab"):
        package = importlib.import_module(name)
        for found in pkgutil.walk_packages(package.__path__, f"{name}."):
            importlib.import_module(found.name)
    importlib.import_module("tests.lab.cli.warm_servers").load()
    importlib.import_module("tests.lab.cli.warm_labs")
    gc.collect()
    gc.freeze()
    listening, life = (socket.socket(fileno=int(fd)) for fd in sys.argv[1:3])
    _ADDRESS.append(listening.getsockname())
    _serve(listening, life)


if __name__ == "__main__":
    _main()
