"""What one request costs: CPU time of a key server and of the bus port, real processes."""

from __future__ import annotations

import time
from typing import ClassVar

from benchmarks.benchmark import Bar, Benchmark, CannotRun, Figures, Report, Sense
from benchmarks.creations import KMS, create_keys
from benchmarks.memory import name_of
from benchmarks.roundtrips import Call, Ends, both_ends, calls_within
from benchmarks.scale.spent import cpu_s_of
from benchmarks.staging import stage


class CreationCost(Benchmark):
    """As ``key-creations``, but what the key server's process works and not how long it takes."""

    name: ClassVar[str] = "creation-cost"
    measures: ClassVar[str] = "CPU of the key server per durable sealed key, 64 in flight"
    unit: ClassVar[str] = "us"
    bar: ClassVar[Bar] = Bar(Sense.AT_MOST, 130.0)

    async def run(self, report: Report) -> Figures:
        count = 512 if self.quick else 8000
        async with stage(hosts=0) as staged:
            await staged.lab.power_on(KMS)
            named = {name_of(pid): pid for pid in staged.lab.agents.pids}
            if f"ks-{KMS}" not in named:
                raise CannotRun(f"the key server is none of {', '.join(named)}")
            server = named[f"ks-{KMS}"]
            await create_keys(staged, count // 10)  # warm
            before, mine = cpu_s_of(server), time.process_time()
            await create_keys(staged, count)
            spent, asking = cpu_s_of(server) - before, time.process_time() - mine
        return Figures(1e6 * spent / count, {"asker_us": 1e6 * asking / count})


class PortCost(Benchmark):
    """Both ends together, 64 in flight; the raw protocol does nothing but read and write lines."""

    name: ClassVar[str] = "port-cost"
    measures: ClassVar[str] = "CPU of a round trip over the port / over a raw protocol"
    unit: ClassVar[str] = "x"
    bar: ClassVar[Bar] = Bar(Sense.AT_MOST, 4.2)

    async def run(self, report: Report) -> Figures:
        seconds, turns = (0.2, 1) if self.quick else (1.5, 3)
        async with both_ends() as ends:
            for call in (ends.over_raw, ends.over_port):
                await calls_within(call, seconds / 5)  # warm
            raw = port = float("inf")
            for _ in range(turns):
                raw = min(raw, await _cost(ends, ends.over_raw, seconds))
                port = min(port, await _cost(ends, ends.over_port, seconds))
        if raw <= 0:
            raise CannotRun("too few round trips for the kernel's clock")
        return Figures(port / raw, {"port_us": port, "raw_us": raw})


async def _cost(ends: Ends, call: Call, seconds: float) -> float:
    """Microseconds of CPU per round trip, of this process and of the other end."""
    before = time.process_time() + cpu_s_of(ends.other)
    done = await calls_within(call, seconds)
    return 1e6 * (time.process_time() + cpu_s_of(ends.other) - before) / done
