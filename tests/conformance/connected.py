"""Two nodes with connections: one echoes in capitals, with certificates that trust each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from protocol.crypto.certificates import SEED_SIZE, SERIAL_SIZE, new_key, self_signed
from protocol.errors import ProductError
from protocol.secret import KeyMaterial
from protocol.terms import NodeName
from services.runtime.node import NodeRunner
from services.runtime.service import Service
from services.runtime.streams import (
    CONNECTIONS,
    DeferredAnswer,
    Listener,
    Stream,
    Streams,
    TlsIdentity,
)
from tests.conformance.talk import Bench, Body

YEAR_S = 365 * 86_400.0
A, B = NodeName("a"), NodeName("b")


class Card:
    """A key with its certificate."""

    def __init__(self, name: str, start: float, end: float) -> None:
        self.key = new_key(KeyMaterial(name.encode().ljust(SEED_SIZE, b"-")))
        self.certificate = self_signed(name, self.key, bytes(SERIAL_SIZE), start, end)

    def trusting(self, *others: Card) -> TlsIdentity:
        trusted = tuple(other.certificate for other in others)
        return TlsIdentity((self.certificate,), self.key, trusted)


class Pair:
    """A client ``a`` and a server ``b``; ``identity`` is what the server shows and believes."""

    def __init__(self, bench: Bench, client: NodeRunner, server: NodeRunner) -> None:
        self.bench, self.client, self.server = bench, client, server
        now = server.ports.clock.now()
        self.card_a = Card("a", now - YEAR_S, now + YEAR_S)
        self.card_b = Card("b", now - YEAR_S, now + YEAR_S)
        self.identity = self.card_b.trusting(self.card_a)
        self.refused: list[ProductError] = []
        self.served: list[Stream] = []
        self.ended: list[BaseException | None] = []

    @property
    def from_a(self) -> Streams:
        return streams(self.client)

    async def listen(
        self,
        serve: Callable[[Stream], Coroutine[Any, Any, None]] | None = None,
        *,
        most: int = CONNECTIONS,
        outside: tuple[str, int] | None = None,
    ) -> Listener:
        return await streams(self.server).listen(
            lambda: self.identity,
            serve or self.echo,
            refused=self.refused.append,
            most=most,
            outside=outside,
        )

    async def echo(self, stream: Stream) -> None:
        self.served.append(stream)
        try:
            while data := await stream.read(65_536, self.at_once):
                await stream.write(data.upper())
        except BaseException as error:
            self.ended.append(error)
            raise
        self.ended.append(None)

    def at_once(self, data: bytes) -> bytes | DeferredAnswer | None:
        """The echo, when the bench wants it without a step of a task."""
        if self.bench.at_once is None:
            return None
        self.bench.at_once += 1
        answer = data.upper()
        return in_a_later_step(answer) if self.bench.later else answer

    async def connect(self, *, within_s: float = 5.0) -> Stream:
        identity = self.card_a.trusting(self.card_b)
        return await self.from_a.connect(B, identity, within_s=within_s)


def without_tasks(body: Body) -> Body:
    """The same, with echoes that need no step of who serves."""

    async def play(bench: Bench) -> None:
        bench.at_once = 0
        await body(bench)
        assert bench.at_once > 0

    return play


def with_later_answers(body: Body) -> Body:
    """As ``without_tasks``, with echoes that follow."""

    async def play(bench: Bench) -> None:
        bench.later = True
        await without_tasks(body)(bench)

    return play


def in_a_later_step(answer: bytes) -> DeferredAnswer:
    """An answer that follows, soon."""
    later = DeferredAnswer()
    asyncio.get_running_loop().call_soon(later.set, answer)
    return later


def streams(runner: NodeRunner) -> Streams:
    """The port of a node that has one."""
    found = runner.ports.streams
    assert found is not None
    return found


async def pair(bench: Bench) -> Pair:
    """Both nodes, up."""
    client = await bench.node(A, Service)
    return Pair(bench, client, await bench.node(B, Service))


async def asked(stream: Stream, data: bytes = b"hello") -> bytes:
    """What the other end makes of ``data``: as many bytes."""
    await stream.write(data)
    answer = b""
    while len(answer) < len(data):
        more = await stream.read(65_536)
        assert more, "the other end closed"
        answer += more
    return answer


async def both_at_once(stream: Stream, data: bytes) -> bytes:
    """What comes back while ``data`` is being written: as many bytes."""
    answer = bytearray()
    async with asyncio.TaskGroup() as group:
        group.create_task(stream.write(data))
        while len(answer) < len(data):
            more = await stream.read(65_536)
            assert more, "the other end closed"
            answer += more
    return bytes(answer)


async def settled(two: Pair, true: Callable[[], bool]) -> None:
    """Wait until that is so: both drivers come to it, each in its time."""
    for _ in range(200):
        if true():
            return
        await two.client.ports.clock.sleep(0.05)
    raise AssertionError("it never came to it")
