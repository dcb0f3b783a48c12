"""Children of a fork server for an owner with an event loop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, assert_never

from services.runtime.forking.connection import (
    START_LIMIT_S,
    ForkFailed,
    ForkServerConnection,
    ForkServerSocket,
)
from services.runtime.forking.packets import (
    ChildEnded,
    ChildForked,
    Fork,
    ForkServerFailed,
    NotForked,
    Ready,
    ServerPacket,
)

_KILLED: Final = -int(signal.SIGKILL)


class ChildProcess:
    """One child. ``line`` is our end of its socket; the child exits when that end is closed.

    ``server`` forked it, and learns of its end first.
    """

    def __init__(self, pid: int, line: socket.socket, server: ForkServerSocket) -> None:
        self.pid = pid
        self._server = server
        self.line = line
        self.gone = asyncio.Event()
        self.code: int | None = None
        self.stopped = False
        self._reading = False

    async def read(self, size: int) -> bytes:
        """Its next output, at most ``size`` bytes; empty when it has closed or ended."""
        self._reading = True
        try:
            return await asyncio.get_running_loop().sock_recv(self.line, size)
        finally:
            self._reading = False
            if self.gone.is_set():
                self.line.close()

    def kill(self) -> None:
        """End it now; no change when it has ended, even if we have not received its end yet."""
        self._server.kill(self.pid)

    def signal(self, number: signal.Signals) -> None:
        """Deliver a signal, such as one that stops it; no change when it has ended."""
        if not self.gone.is_set():
            with suppress(ProcessLookupError):  # its end arrives in a moment
                os.kill(self.pid, number)

    def record_exit(self, code: int) -> None:
        """It has ended with exit code ``code``, negative for a signal."""
        self.code = code
        self.gone.set()
        if self._reading:
            self.line.shutdown(socket.SHUT_RDWR)  # a closed one would never wake its reader
        else:
            self.line.close()


@dataclass(frozen=True, slots=True)
class _PendingFork:
    answer: asyncio.Future[ChildProcess]
    line: socket.socket


class Children:
    """All children of one fork server, which is started once; ``close`` ends it and all of them.

    ``preload``, ``env`` and ``folder`` are those of ``ForkServerConnection``; ``log`` is a file for
    the output of server and children. ``on_end`` is called with each child that ended by itself;
    ``on_lost`` is called before, when it was the server that ended.
    """

    def __init__(
        self,
        preload: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.on_end: Callable[[ChildProcess], None] = lambda child: None
        self.on_lost: Callable[[], None] = lambda: None
        self._preload, self.log = preload, log
        self._env, self._folder = env, folder
        self._connection: ForkServerSocket | None = None
        self._ready: asyncio.Future[None] | None = None
        self._pending: dict[int, _PendingFork] = {}
        self._children: dict[int, ChildProcess] = {}
        self._gone = False
        self._last = 0
        # One task waits for room in the socket, the others wait for that task.
        self._sending = asyncio.Lock()
        self._writable = asyncio.Event()

    async def start(self, within_s: float = START_LIMIT_S) -> None:
        """Wait until the server has loaded what children need; ``ForkFailed`` otherwise."""
        self._connection = self._connect()
        loop = asyncio.get_running_loop()
        self._gone = False
        self._ready = loop.create_future()
        loop.add_reader(self._connection.socket.fileno(), self._receive_packets)
        try:
            async with asyncio.timeout(within_s):
                await self._ready
        except TimeoutError:
            await self.close()
            raise ForkFailed(f"the fork server was not ready within {within_s:g} s") from None
        except BaseException:
            await self.close()
            raise

    def _connect(self) -> ForkServerSocket:
        """Start a server, which begins to load."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            return ForkServerConnection(
                self._preload, env=self._env, log=output, folder=self._folder
            )

    def _receive_packets(self) -> None:
        if self._connection is None:
            return
        try:
            packet = self._connection.receive()
        except ForkFailed as error:
            asyncio.get_running_loop().remove_reader(self._connection.socket.fileno())
            self._handle_lost_server(error)
            return
        if packet is not None:
            self._handle_packet(self._connection, packet)

    def _handle_packet(self, server: ForkServerSocket, packet: ServerPacket) -> None:
        match packet:
            case Ready():
                if self._ready is not None and not self._ready.done():
                    self._ready.set_result(None)
            case ChildForked(number, pid):
                pending = self._pending.pop(number)
                if not pending.answer.done():
                    child = ChildProcess(pid, pending.line, server)
                    self._children[pid] = child
                    pending.answer.set_result(child)
                else:
                    server.kill(pid)  # nobody waits for it any more
            case NotForked(number, why):
                pending = self._pending.pop(number)
                if not pending.answer.done():
                    pending.answer.set_exception(ForkFailed(why))
            case ChildEnded(pid, code):
                self._record_exit(pid, code)
            case ForkServerFailed():
                raise AssertionError("a connection raises this")
            case _:
                assert_never(packet)

    def _handle_lost_server(self, error: ForkFailed) -> None:
        """The server has ended, and the kernel has ended its children."""
        self._gone = True
        self._fail_pending_forks(error)
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(error)
        else:
            self.on_lost()
        for pid in list(self._children):
            self._record_exit(pid, _KILLED)

    def _fail_pending_forks(self, error: ForkFailed) -> None:
        """Fail all pending forks."""
        for pending in self._pending.values():
            if not pending.answer.done():
                pending.answer.set_exception(error)
        self._pending.clear()

    def _record_exit(self, pid: int, code: int) -> None:
        child = self._children.pop(pid, None)
        if child is not None:
            child.record_exit(code)
            self.on_end(child)

    async def fork(self, name: str, target: str, argument: bytes) -> ChildProcess:
        """Fork a child that runs ``target`` (see ``packets.Fork``); ``ForkFailed`` otherwise."""
        self._last += 1
        order = Fork(self._last, name, target, argument)
        line = await self._send(order)
        answer: asyncio.Future[ChildProcess] = asyncio.get_running_loop().create_future()
        self._pending[order.number] = _PendingFork(answer, line)
        try:
            return await answer
        except BaseException:
            line.close()
            if answer.done() and not answer.cancelled() and answer.exception() is None:
                answer.result().kill()
            raise

    async def _send(self, order: Fork) -> socket.socket:
        """Send the order when the server has room; return our end of the child's socket."""
        async with self._sending:
            while True:
                connection = self._connection
                if connection is None:
                    raise ForkFailed("the fork server is not running")
                try:
                    line = connection.fork(order)
                except BlockingIOError:
                    await self._wait_for_room(connection)
                else:
                    line.setblocking(False)
                    return line

    async def _wait_for_room(self, connection: ForkServerSocket) -> None:
        """Wait until the socket takes more, or the server has ended."""
        loop, fd = asyncio.get_running_loop(), connection.socket.fileno()
        self._writable.clear()
        loop.add_writer(fd, self._writable.set)
        try:
            await self._writable.wait()
        finally:
            if self._connection is connection:
                loop.remove_writer(fd)

    @property
    def alive(self) -> bool:
        """Whether the fork server runs."""
        return self._connection is not None and not self._gone and not self._connection.ended

    @property
    def server_pid(self) -> int | None:
        """The fork server's pid; None when it does not run."""
        return None if self._connection is None else self._connection.pid

    @property
    def pids(self) -> list[int]:
        """The pids of the running children."""
        return list(self._children)

    async def close(self) -> None:
        """End the fork server; the kernel ends its children. Returns when it has ended, without
        blocking the loop. Pending forks raise ``ForkFailed``."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        loop, fd = asyncio.get_running_loop(), connection.socket.fileno()
        loop.remove_reader(fd)
        loop.remove_writer(fd)
        self._writable.set()
        self._fail_pending_forks(ForkFailed("the fork server was closed"))
        children = list(self._children.values())
        self._children.clear()
        try:
            await asyncio.to_thread(connection.close)
        finally:
            for child in children:
                child.record_exit(_KILLED)
