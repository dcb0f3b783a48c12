"""Requests and replies over the broker: our port beside a bare nats-py client, in one run.

Both ask another process over the same broker, under identities of the same kind, with messages
of the same size, and take turns of a second: what else the machine does slows both.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import ClassVar

import msgspec
from nats.aio.client import Client

from benchmarks import echo
from benchmarks.benchmark import Bar, Benchmark, CannotRun, Figures, Report, Sense
from benchmarks.raw import RawClient
from benchmarks.staging import folder
from lab.brokers.identities import Identities
from lab.brokers.server import Broker
from protocol.codec import VERSION, Envelope, encode_envelope, encode_message
from protocol.messages.kms.keys import Activate
from protocol.terms import KeyId, NodeName
from services.runtime.bus import BusPort

IN_FLIGHT = 64
LIMIT_S = 30.0
_KEY = KeyId("0" * 36)

Call = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Ends:
    """Clients of every kind, and the process at their other end."""

    bare: Client
    raw: RawClient
    port: BusPort
    other: int  # its pid

    async def over_bare(self) -> object:
        return await self.bare.request(echo.BARE_SUBJECT, _payload(), timeout=LIMIT_S)

    async def over_raw(self) -> object:
        return await self.raw.request(echo.RAW_SUBJECT, _payload())

    async def over_port(self) -> object:
        return await self.port.request(echo.PORT_ECHO, _message(), within_s=LIMIT_S)

    async def to_node(self) -> object:
        return await self.port.request(echo.NODE_ECHO, _message(), within_s=LIMIT_S)


class RoundTrips(Benchmark):
    """Unsealed requests, 64 in flight, answered at once."""

    name: ClassVar[str] = "bus-roundtrips"
    measures: ClassVar[str] = "round trips of the bus port, of a bare nats-py echo's, 64 in flight"
    unit: ClassVar[str] = "%"
    bar: ClassVar[Bar] = Bar(Sense.AT_LEAST, 60.0)

    async def run(self, report: Report) -> Figures:
        seconds, turns = (0.05, 1) if self.quick else (1.0, 3)
        async with both_ends() as ends:
            calls = {
                "bare_per_s": ends.over_bare,
                "port_per_s": ends.over_port,
                "node_per_s": ends.to_node,
            }
            for call in calls.values():
                await rate(call, seconds / 5)  # warm
            seen: dict[str, list[float]] = {name: [] for name in calls}
            for _ in range(turns):
                for name, call in calls.items():
                    seen[name].append(await rate(call, seconds))
        rates = {name: sum(found) / len(found) for name, found in seen.items()}
        return Figures(100.0 * rates["port_per_s"] / rates["bare_per_s"], rates)


def _message() -> Activate:
    return Activate(key_id=_KEY)


def _payload() -> bytes:
    """As long as an envelope of ours, and made for each call as ours is."""
    return bytes(_SIZE)


_SIZE = len(
    encode_envelope(
        Envelope(
            VERSION, 100_000, "", NodeName("asker"), 1, 1e6, "Activate", encode_message(_message())
        )
    )
)


async def rate(call: Call, seconds: float) -> float:
    """Calls per second."""
    begun = time.perf_counter()
    done = await calls_within(call, seconds)
    return done / (time.perf_counter() - begun)


async def calls_within(call: Call, seconds: float) -> int:
    """How many calls there were, 64 at any moment."""
    until = time.perf_counter() + seconds
    done = 0

    async def one_after_another() -> None:
        nonlocal done
        while time.perf_counter() < until:
            await call()
            done += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(one_after_another())
    return done


@asynccontextmanager
async def both_ends() -> AsyncIterator[Ends]:
    """A broker, the other end in its process, and all clients."""
    with folder() as where:
        broker = Broker(where, Identities.create(where, echo.NODES))
        await broker.start()
        try:
            settings = echo.Settings(broker.url, str(where), time.monotonic(), time.time())
            async with _other_end(settings) as other:
                bare = await echo.bare_client(settings, echo.BARE_CLIENT, echo.BARE_ECHO)
                raw = await echo.raw_client(settings)
                port = echo.open_port(settings.world(), echo.CLIENT)
                await port.open()
                try:
                    yield Ends(bare, raw, port, other)
                finally:
                    port.abort()
                    raw.close()
                    await bare.close()
        finally:
            await broker.stop()


@asynccontextmanager
async def _other_end(settings: echo.Settings) -> AsyncIterator[int]:
    """Its pid."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.echo",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
        start_new_session=True,
    )
    if process.stdin is None or process.stdout is None:
        raise CannotRun("the other end has no pipes")
    try:
        process.stdin.write(msgspec.json.encode(settings) + b"\n")
        async with asyncio.timeout(LIMIT_S):
            if await process.stdout.readline() != echo.READY:
                raise CannotRun("the other end did not start")
        yield process.pid
    finally:
        process.stdin.close()  # at which it leaves
        with suppress(TimeoutError):
            async with asyncio.timeout(LIMIT_S):
                await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()
