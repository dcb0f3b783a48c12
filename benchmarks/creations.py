"""Keys that a key server makes: each durable on its disk before its reply, sealed on its way."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
import uuid
from pathlib import Path
from typing import ClassVar

from benchmarks.benchmark import Bar, Benchmark, Figures, Report, Sense
from benchmarks.staging import Stage, folder, stage
from protocol.messages.kms.keys import CreateKey
from protocol.terms import NodeName

IN_FLIGHT = 64
LIMIT_S = 60.0
KMS = NodeName("kms")


class KeyCreations(Benchmark):
    """Create, Activate and Get in one request, as vCenter asks it: it comes back with the key.

    The key server has a process of its own, as has the broker; the client is this process.
    """

    name: ClassVar[str] = "key-creations"
    measures: ClassVar[str] = "durable key creations over the bus, sealed, 64 in flight"
    unit: ClassVar[str] = "1/s"
    bar: ClassVar[Bar] = Bar(Sense.AT_LEAST, 2500.0)

    async def run(self, report: Report) -> Figures:
        count = 128 if self.quick else 8000
        async with stage(hosts=0) as staged:
            await staged.lab.power_on(KMS)
            await create_keys(staged, count // 10)  # warm
            taken, each = await create_keys(staged, count)
        return Figures(
            count / taken,
            {
                "p50_ms": statistics.median(each) * 1000,
                "p99_ms": sorted(each)[int(len(each) * 0.99)] * 1000,
                "sync_us": await asyncio.to_thread(_sync_cost),
            },
        )


async def create_keys(staged: Stage, count: int) -> tuple[float, list[float]]:
    """Seconds in all, and seconds of each request."""
    left, each = count, []

    async def one_after_another() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            order = CreateKey(operation_id=str(uuid.uuid4()), activate=True, get=True)
            begun = time.perf_counter()
            made = await staged.port.request(KMS, order, within_s=LIMIT_S)
            each.append(time.perf_counter() - begun)
            if made.material is None or len(made.material.keys[0]) != 32:
                raise RuntimeError("the key server answered without a key")

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(one_after_another())
    return time.perf_counter() - begun, each


def _sync_cost() -> float:
    """Microseconds of one ``fdatasync`` after 4 KiB: what a commit waits for at least."""
    with folder() as where:
        fd = os.open(Path(where) / "probe", os.O_CREAT | os.O_WRONLY, 0o600)
        try:
            seen = []
            for _ in range(50):
                begun = time.perf_counter()
                os.write(fd, bytes(4096))
                os.fdatasync(fd)
                seen.append(time.perf_counter() - begun)
        finally:
            os.close(fd)
    return statistics.median(seen) * 1e6
