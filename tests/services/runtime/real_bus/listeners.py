"""What the wire tests share: a sink that records, a condition that waits, a proxy that stalls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

PATIENCE_S = 45.0  # no test fails on speed; this only ends one that would hang


async def until(condition: Callable[[], bool], what: str) -> float:
    """Wait for ``condition``; the seconds it took. Fails with ``what`` when it never comes."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < PATIENCE_S, f"never happened: {what}"
        await asyncio.sleep(0.005)
    return time.monotonic() - began


@dataclass
class Recorder:
    """A sink that keeps all it is told, in order."""

    messages: list[tuple[str, str, bytes]] = field(default_factory=list)
    no_responders: list[str] = field(default_factory=list)
    link: list[str] = field(default_factory=list)

    def on_message(self, subject: str, reply: str, payload: bytes) -> None:
        self.messages.append((subject, reply, payload))

    def on_no_responders(self, subject: str) -> None:
        self.no_responders.append(subject)

    def on_disconnected(self) -> None:
        self.link.append("down")

    def on_reconnected(self) -> None:
        self.link.append("up")

    def payloads(self) -> list[bytes]:
        return [payload for _, _, payload in self.messages]


class StallingProxy:
    """TCP between a client and the broker that can become half-open: accepts, never moves a byte.

    ``stall`` freezes all connections, old and new. ``heal`` lets new ones pass and drops the
    frozen ones with whatever they had not read.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._frozen: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        tasks: list[asyncio.Task[None]] = []
        try:
            if not self._flowing.is_set():
                await asyncio.Event().wait()  # accepted, and never served: until cancelled
            upstream = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers.add(upstream[1])
            tasks = [
                asyncio.create_task(self._pump(reader, upstream[1])),
                asyncio.create_task(self._pump(upstream[0], writer)),
            ]
            self._frozen.update(tasks)
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            upstream[1].transport.abort()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for task in tasks:
                task.cancel()
            writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if not self._flowing.is_set():
                    await asyncio.Event().wait()  # swallowed: this connection is lost
                writer.write(data)
                await writer.drain()

    def stall(self) -> None:
        self._flowing.clear()

    def heal(self) -> None:
        for task in self._frozen:
            task.cancel()
        self._frozen.clear()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        self._flowing.set()

    async def stop(self) -> None:
        self.heal()
        if self._server is not None:
            self._server.close()
