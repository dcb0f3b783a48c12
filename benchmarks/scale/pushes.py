"""New keys of a cluster on their way to all of its hosts."""

from __future__ import annotations

from typing import ClassVar

from benchmarks.benchmark import Bar, Benchmark, CannotRun, Figures, Report, Sense
from benchmarks.scale.shapes import lab_of
from benchmarks.scale.within import pushes
from benchmarks.scale.workers import measure_in_worker


class Pushes(Benchmark):
    """Every VM gets a key, and every host each of these keys.

    The encryption mode of the hosts goes on with the first of them, so that their host keys are
    counted too.
    """

    name: ClassVar[str] = "pushes"
    measures: ClassVar[str] = "AddKeys per host for 200 encryptions in a cluster of 100 hosts, sim"
    unit: ClassVar[str] = "messages"
    bar: ClassVar[Bar] = Bar(Sense.AT_MOST, 12.0)
    repeats: ClassVar[int] = 1

    async def run(self, report: Report) -> Figures:
        hosts = 3 if self.quick else 100
        topology = lab_of(hosts, encrypted=False, power="off")
        seen = await measure_in_worker(pushes, topology)
        if len(seen) != hosts:
            raise CannotRun(f"only {len(seen)} of {hosts} hosts were given a key")
        return Figures(
            seen.total() / hosts, {"most": max(seen.values()), "least": min(seen.values())}
        )
