"""Building a lab, and one that idles, as hosts are added: in virtual time, TPM model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

from benchmarks.benchmark import Bar, Benchmark, Figures, Report, Sense
from benchmarks.scale.plot import growth
from benchmarks.scale.shapes import VMS_PER_HOST, lab_of
from benchmarks.scale.within import Costs, build_and_idle
from benchmarks.scale.workers import measure_in_worker

CLUSTER = 50  # hosts


class BuildRatio(Benchmark):
    """Three times as many hosts and VMs in one cluster, and what that costs more."""

    name: ClassVar[str] = "build-ratio"
    measures: ClassVar[str] = "build 100 hosts / build 32, one cluster, 2 VMs a host, sim"
    unit: ClassVar[str] = "x"
    bar: ClassVar[Bar] = Bar(Sense.AT_MOST, 3.6)

    async def run(self, report: Report) -> Figures:
        small, large = (2, 4) if self.quick else (32, 100)
        below = await measure_in_worker(build_and_idle, lab_of(small), 0)
        above = await measure_in_worker(build_and_idle, lab_of(large), 0)
        details = {"small_s": below.build, "large_s": above.build}
        return Figures(above.build / below.build, details)


class BuildThousand(Benchmark):
    name: ClassVar[str] = "build-1000"
    measures: ClassVar[str] = "build 1,000 hosts in 20 clusters, 2 VMs a host, sim"
    unit: ClassVar[str] = "s"
    bar: ClassVar[Bar] = Bar(Sense.AT_MOST, 12.0)
    repeats: ClassVar[int] = 1

    async def run(self, report: Report) -> Figures:
        hosts, clusters = (4, 2) if self.quick else (20 * CLUSTER, 20)
        costs = await measure_in_worker(build_and_idle, lab_of(hosts, clusters), 0)
        return Figures(costs.build, {"per_host_ms": 1000.0 * costs.build / hosts})


class Growth(Benchmark):
    """Labs of more and more clusters of one size. The details are the points of the picture."""

    name: ClassVar[str] = "idle-growth"
    measures: ClassVar[str] = "idle cost of a host and minute, 1,000 hosts / 100, clusters of 50"
    unit: ClassVar[str] = "x"
    bar: ClassVar[Bar] = Bar(Sense.AT_MOST, 1.1)
    repeats: ClassVar[int] = 1
    clusters: ClassVar[tuple[int, ...]] = (1, 2, 4, 10, 20)
    base: ClassVar[int] = 2  # clusters of the lab that the largest is compared with
    minutes: ClassVar[int] = 5

    async def run(self, report: Report) -> Figures:
        clusters, each = ((1, 2), 2) if self.quick else (self.clusters, CLUSTER)
        minutes = 1 if self.quick else self.minutes
        costs: dict[int, Costs] = {}
        for count in clusters:
            hosts = count * each
            costs[hosts] = await measure_in_worker(build_and_idle, lab_of(hosts, count), minutes)
            report(f"  {hosts} hosts: {costs[hosts].build:.3g} s to build")
        details = {f"build_{hosts}_s": cost.build for hosts, cost in costs.items()}
        details |= {f"idle_{hosts}_s": of_a_minute(cost) for hosts, cost in costs.items()}
        least, most = (1 if self.quick else self.base) * each, max(costs)
        ratio = of_a_minute(costs[most]) / of_a_minute(costs[least])
        return Figures(ratio * least / most, details)


def of_a_minute(costs: Costs) -> float:
    """CPU seconds of an idle minute, of all its hosts: what is done now and then is in the mean."""
    return math.fsum(costs.idle) / len(costs.idle)


def picture(details: Mapping[str, float]) -> bytes:
    """The figures of ``Growth`` as an SVG document."""
    panels = {"build_": "building", "idle_": "an idle minute of the product"}
    points = {
        title: [
            (float(name.removeprefix(start).removesuffix("_s")), value)
            for name, value in details.items()
            if name.startswith(start)
        ]
        for start, title in panels.items()
    }
    caption = (
        f"CPU time of simulated labs: clusters of {CLUSTER} hosts, {VMS_PER_HOST} VMs a host; "
        "dashed: no host costs more than one of the smallest lab"
    )
    return growth(points, caption)
