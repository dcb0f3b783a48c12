"""Many runs of one lab: each built from the start, or forked where its build ended."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable
from contextlib import closing
from typing import ClassVar

import psutil

from benchmarks.benchmark import Bar, Benchmark, CannotRun, Figures, Report, Sense
from benchmarks.scale.workers import LIMIT_S
from lab.serve.session import LabSession
from lab.simulation.sim_lab import BUILDS, SimLab
from lab.simulation.snapshot import BuiltLabs, Origin
from lab.simulation.workers import PRELOAD
from lab.topology.lab_file import load
from lab.topology.plan import plan
from services.runtime.forking.blocking import ForkServer
from services.runtime.sim.runner import run_in_worker

IDLE_S = 300.0
SEED = 1
REAPED_S = 0.2  # seconds until a fork server has heard of its last child's end


def idle(lab: SimLab, session: LabSession) -> str:
    """The run: nobody wants anything. The hash of its trace."""
    lab.run(lab.sleep(IDLE_S))
    return lab.loop.trace.hash()


class SnapshotRuns(Benchmark):
    """Processor time of the whole run: its fork, its pages, its end."""

    name: ClassVar[str] = "snapshot-runs"
    measures: ClassVar[str] = "a run from a snapshot / a fresh one, default lab, five idle minutes"
    unit: ClassVar[str] = "x"
    bar: ClassVar[Bar] = Bar(Sense.AT_MOST, 0.3)
    also: ClassVar[dict[str, Bar]] = {"per_core_s": Bar(Sense.AT_LEAST, 40.0)}

    async def run(self, report: Report) -> Figures:
        fresh, forked = (3, 6) if self.quick else (25, 100)
        return await asyncio.to_thread(_compare, fresh, forked)


def _compare(fresh: int, forked: int) -> Figures:
    origin = Origin(plan(load("default", tpm="model")))
    seeds = [SEED + BUILDS * number for number in range(max(fresh, forked))]  # of one build
    # Both kinds of run have loaded everything before they begin.
    with (
        closing(ForkServer((*PRELOAD, __name__))) as server,
        BuiltLabs(origin, above=server) as snapshot,
    ):
        from_start = functools.partial(run_in_worker, origin.play, timeout_s=LIMIT_S, server=server)
        if snapshot.run(SEED, idle) != from_start(SEED, idle):
            raise CannotRun("a run from a snapshot is not the run from the start")
        if server.pid is None:
            raise CannotRun("there is no fork server")
        of_fresh = cost_of(server.pid, lambda seed: from_start(seed, idle), seeds[:fresh])
        of_forked = cost_of(snapshot.pids[0], lambda seed: snapshot.run(seed, idle), seeds[:forked])
    details = {"fresh_ms": 1000 * of_fresh, "forked_ms": 1000 * of_forked}
    return Figures(of_forked / of_fresh, {**details, "per_core_s": 1 / of_forked})


def cost_of(server: int, run: Callable[[int], object], seeds: list[int]) -> float:
    """CPU seconds of a run: what the fork server that forked it has spent, with its children."""

    def read_spent() -> float:
        time.sleep(REAPED_S)
        times = psutil.Process(server).cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)

    before = read_spent()
    for seed in seeds:
        run(seed)
    return (read_spent() - before) / len(seeds)
