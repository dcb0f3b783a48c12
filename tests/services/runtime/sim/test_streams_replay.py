"""Connections replay: TLS draws other bytes at each run, and the trace does not know it."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from protocol.errors import TimedOut
from protocol.messages.agent import CutRule, DelayRule, LossRule
from services.runtime.incarnation import WayDown
from services.runtime.sim.loop import SimLoop
from services.runtime.sim.streams import SimCarrier
from services.runtime.sim.trace import Trace, first_difference
from services.runtime.streams import Stream
from services.runtime.tls.transport import StreamPart
from tests.conformance.connected import A, B, Pair, asked, pair
from tests.conformance.talk import SimBench

pytestmark = pytest.mark.sim


async def play(bench: SimBench) -> None:
    two = await pair(bench)
    await two.listen()
    async with asyncio.TaskGroup() as group:
        for number in range(6):
            group.create_task(talk(two, number))
    bench.rules(
        DelayRule(id="slow", src=A, dst=B, base_s=0.1, jitter_s=0.3),
        LossRule(id="lossy", src=B, dst=A, share=0.3),
    )
    await talk(two, 7)
    await bench.machine(B).power_off(WayDown.CRASH)
    await bench.close()


async def talk(two: Pair, number: int) -> None:
    stream = await two.connect(within_s=60)
    for turn in range(3):
        await asked(stream, f"{number}/{turn} ".encode() * (1 + 300 * number))
    stream.close()


def run(seed: int, parts: list[bytes]) -> Trace:
    """The trace of one run; what travelled is added to ``parts``."""
    trace = Trace(record=True)
    loop = SimLoop(seed, trace=trace)
    bench = SimBench(loop, seed)
    travel = SimCarrier._send_part

    def seen(self: SimCarrier, other: SimCarrier, part: StreamPart) -> None:
        parts.append(part.data)
        travel(self, other, part)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SimCarrier, "_send_part", seen)
        try:
            loop.run(play(bench), seconds=3600)
            assert not loop.escapes and not loop.unhandled
        finally:
            loop.close()
    return trace


def test_the_same_seed_gives_the_same_trace_with_other_bytes() -> None:
    first: list[bytes] = []
    second: list[bytes] = []
    a, b = run(7, first), run(7, second)
    assert first_difference(a, b) is None
    assert a.hash() == b.hash()
    assert len(first) == len(second) > 100
    assert first != second
    assert [len(part) for part in first] != [len(part) for part in second]
    assert any(entry.label.startswith("tls b handshake") for entry in a.entries)


def test_who_asks_into_a_cut_is_not_heard() -> None:
    """The rule came while the opening was on its way."""
    loop = SimLoop(7)
    bench = SimBench(loop, 7)

    async def ask() -> None:
        two = await pair(bench)
        await two.listen()
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(refused(two))
            await two.client.ports.clock.sleep(0.0001)
            bench.rules(CutRule(id="cut", src=A, dst=B))
        assert asking.result() == 3.0
        assert "streams_taken" not in bench.machine(B).status().counters
        await bench.close()

    async def refused(two: Pair) -> float:
        start = loop.time()
        with pytest.raises(TimedOut):
            await two.connect(within_s=3.0)
        return round(loop.time() - start, 3)

    try:
        loop.run(ask(), seconds=3600)
    finally:
        loop.close()


@pytest.mark.slow
def test_each_fork_goes_on_with_the_connections_that_were_open() -> None:
    """Many runs begin at the end of one build: each has the whole of TLS's state."""
    loop = SimLoop(7)
    bench = SimBench(loop, 7)

    async def begin() -> Pair:
        two = await pair(bench)
        await two.listen()
        return two

    async def say(stream: Stream, word: bytes) -> bytes:
        new = await two.connect()
        return await asked(stream, word) + await asked(new, word)

    try:
        two = loop.run(begin(), seconds=60)
        stream = loop.run(two.connect(), seconds=60)
        assert loop.run(asked(stream), seconds=60) == b"HELLO"
        for _ in range(2):
            child = os.fork()
            if not child:
                said = loop.run(say(stream, b"child"), seconds=60)
                os._exit(0 if said == b"CHILDCHILD" else 1)
            assert os.waitpid(child, 0)[1] == 0
        assert loop.run(say(stream, b"parent"), seconds=60) == b"PARENTPARENT"
    finally:
        loop.close()


def test_another_seed_gives_another_trace() -> None:
    rest: list[Any] = []
    assert run(7, rest).hash() != run(8, rest).hash()
