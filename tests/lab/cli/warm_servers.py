"""Fork servers that need not load anything first: forked from ``warm``.

Replaces ``services.runtime.forking.connection.ForkServerConnection``, which starts another Python.
How a fork server is started, and what memory it costs, is not tested here.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NoReturn

from lab.processes import preload as loading
from services.runtime.forking import blocking, children, server
from services.runtime.forking.child import descriptors, set_process_name, withhold_memory
from services.runtime.forking.connection import ForkFailed, ForkServerConnection, ForkServerSocket
from services.runtime.forking.packets import MARK
from tests.lab.cli.posing import pose

_LIMIT_S = 60.0
_END_LIMIT_S = 5.0


class WarmConnection(ForkServerSocket):
    """The line to a fork server of ``warm`` at ``address``."""

    def __init__(
        self,
        address: str,
        preload: Sequence[str],
        env: Mapping[str, str],
        log: IO[bytes] | None,
        folder: Path | None,
    ) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        super().__init__(ours)
        self._owner = os.getpid()
        order = {
            "preload": list(preload),
            "environment": {**os.environ, **env},
            "folder": str(folder or Path.cwd()),
        }
        said = 2 if log is None else log.fileno()
        self._life = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._life.settimeout(_LIMIT_S)
        self._life.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        with theirs:
            try:
                self._life.connect(address)
                data = json.dumps({"fork_server": order}).encode()
                socket.send_fds(self._life, [data], [theirs.fileno(), said])
                self._pid = int(self._life.recv(64))
            except (OSError, ValueError) as error:
                raise ForkFailed(f"no fork server of the tests: {error}") from error

    @property
    def pid(self) -> int:
        return self._pid

    @property
    def ended(self) -> bool:
        return os.getpid() != self._owner or self._told(0) is not None

    def close(self) -> None:
        """At the end of ``_life`` it is killed."""
        self.socket.close()
        if self._life.fileno() >= 0 and os.getpid() == self._owner:
            self._told(_END_LIMIT_S)
            self._life.close()

    def _told(self, limit_s: float) -> bytes | None:
        """That it has ended; None when it has not."""
        if self._life.fileno() < 0:
            return b""
        self._life.settimeout(limit_s)
        try:
            return self._life.recv(64, socket.MSG_PEEK)
        except (BlockingIOError, TimeoutError):
            return None
        except OSError:
            return b""


def use(address: str) -> None:
    """From now on fork servers of this process come from ``warm`` at ``address``."""

    def connected(
        preload: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        log: IO[bytes] | None = None,
        folder: Path | None = None,
    ) -> ForkServerSocket:
        env = env or {}
        if any(name.startswith("PYTHON") for name in env):  # read at the start of Python only
            return ForkServerConnection(preload, env=env, log=log, folder=folder)
        return WarmConnection(address, preload, env, log, folder)

    _put(connected)


def use_none() -> None:
    """From now on each fork server is another Python, as it is for people."""
    _put(ForkServerConnection)


def _put(connection: Any) -> None:
    for module in (blocking, children):
        module.Connection = connection  # type: ignore[attr-defined]


def serve(order: dict[str, Any], control: int, log: int) -> NoReturn:
    """The child of ``warm``: a fork server to its end."""
    status = 1
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for standard in (1, 2):
            os.dup2(log, standard)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for fd in descriptors() - {0, 1, 2, control}:
            os.close(fd)
        os.chdir(order["folder"])
        os.environ.clear()
        os.environ.update(order["environment"])
        withhold_memory()
        pose([sys.executable, "-c", "", MARK], os.environ)
        set_process_name("keystead-fork")

        def load() -> None:
            for entry in order["preload"]:
                server._load(entry)

        server.serve(socket.socket(fileno=control), load)
        status = 0
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)


def load() -> None:
    """What fork servers of this project load."""
    loading.real_tpms()
    loading.agents()
