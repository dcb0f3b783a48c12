"""The supervisor's side of the fork server: start agent processes, hear of their ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from lab.errors import KeysteadError
from lab.processes.forkserver import PACKET, Ended, Spawn, Spawned

ROOT = Path(__file__).resolve().parents[2]
START_LIMIT = 30.0  # real seconds
# Memory of an agent: its threads wait for disks and TPMs, so one heap does for all; and what is
# large goes back at once (glibc's threshold would rise with use, and holes stay in the heap).
_ENVIRONMENT = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "131072"}


class ChildProcess:
    """One agent process. ``line`` is our end of its socket; when it closes, the child leaves."""

    def __init__(self, pid: int, line: socket.socket) -> None:
        self.pid = pid
        self.line = line
        self.gone = asyncio.Event()
        self.code: int | None = None
        self.stopped = False

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing when it has ended (its pid may be another's by now)."""
        if not self.gone.is_set():
            os.kill(self.pid, number)

    def ended(self, code: int) -> None:
        self.code = code
        self.line.close()
        self.gone.set()


class Children:
    """Started once per lab; ``close`` ends the fork server and with it every child."""

    def __init__(self, log: Path, *, real_tpms: bool) -> None:
        self._log = log
        self._preload = "tpm" if real_tpms else "-"
        self._server: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._asked: dict[int, asyncio.Future[int]] = {}
        self._children: dict[int, ChildProcess] = {}
        self._early: dict[int, int] = {}  # ends heard of before the child was known here
        self._next = 0
        self._up: asyncio.Future[None] | None = None
        self.on_end: Callable[[ChildProcess], None] = lambda child: None

    async def start(self) -> None:
        """Return when the fork server has imported what children need."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as output:
            self._server = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "lab.processes.forkserver",
                    str(theirs.fileno()),
                    str(os.getpid()),
                    self._preload,
                ],
                cwd=ROOT,
                env={**_ENVIRONMENT, **os.environ},
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        theirs.close()
        ours.setblocking(False)
        self._control = ours
        loop = asyncio.get_running_loop()
        self._up = loop.create_future()
        loop.add_reader(ours.fileno(), self._hear)
        try:
            async with asyncio.timeout(START_LIMIT):
                await self._up
        except (TimeoutError, ConnectionError):
            self.close()
            message = f"the fork server did not start; see {self._log}"
            raise KeysteadError("KS-INT-001", message) from None

    def _hear(self) -> None:
        if self._control is None or self._up is None:
            return
        try:
            data = self._control.recv(PACKET)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._control.fileno())
            if not self._up.done():
                self._up.set_exception(ConnectionError("the fork server has ended"))
            for pid in list(self._children):
                self._over(pid, -int(signal.SIGKILL))
            return
        if not self._up.done():
            self._up.set_result(None)
            return
        match msgspec.msgpack.decode(data, type=Spawned | Ended):
            case Spawned(number, pid):
                self._asked.pop(number).set_result(pid)
            case Ended(pid, code):
                self._over(pid, code)

    def _over(self, pid: int, code: int) -> None:
        child = self._children.pop(pid, None)
        if child is None:
            self._early[pid] = code
            return
        child.ended(code)
        self.on_end(child)

    async def spawn(self, name: str, config: bytes) -> ChildProcess:
        """Fork a child; returns when it says that it is ready. KS-INT-001 when it fails."""
        control = self._control
        if control is None:
            raise KeysteadError("KS-INT-001", "the fork server is not running")
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._next += 1
        number, asked = self._next, loop.create_future()
        self._asked[number] = asked
        packet = msgspec.msgpack.encode(Spawn(number, name, config))
        socket.send_fds(control, [packet], [theirs.fileno()])
        theirs.close()
        try:
            async with asyncio.timeout(START_LIMIT):
                child = ChildProcess(await asked, ours)
                self._children[child.pid] = child
                if child.pid in self._early:
                    self._over(child.pid, self._early.pop(child.pid))
                ready = await loop.sock_recv(ours, 1)
        except (TimeoutError, OSError):
            ready = b""
        if not ready:
            ours.close()
            raise KeysteadError("KS-INT-001", f"process {name} did not start; see {self._log}")
        return child

    @property
    def pids(self) -> list[int]:
        return list(self._children)

    def close(self) -> None:
        """End the fork server; the kernel takes its children along."""
        if self._control is not None:
            if self._control.fileno() >= 0:
                asyncio.get_running_loop().remove_reader(self._control.fileno())
            self._control.close()
            self._control = None
        for child in list(self._children.values()):
            child.ended(-int(signal.SIGKILL))
        self._children.clear()
        if self._server is not None:
            try:
                self._server.wait(5.0)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
            self._server = None
