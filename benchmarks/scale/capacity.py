"""What a host and a VM add to a lab, and whether that foretells a lab of ten thousand hosts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from benchmarks.benchmark import Bar, Benchmark, Figures, Report, Sense
from benchmarks.scale.building import CLUSTER
from benchmarks.scale.shapes import lab_of
from benchmarks.scale.within import Census, census, idle_in_turns
from benchmarks.scale.workers import measure_in_worker

MINUTES = 3  # idle lab minutes that are counted


class Size(NamedTuple):
    """How large a lab is; its clusters have ``CLUSTER`` hosts each, or two where all is quick."""

    hosts: int
    vms: int


class Share(NamedTuple):
    """Of one quantity: what a lab has without hosts, and what each host and each VM adds."""

    base: float
    host: float
    vm: float

    def of(self, size: Size) -> float:
        """What a lab of that size has, by this."""
        return self.base + self.host * size.hosts + self.vm * size.vms


Three = tuple[Size, Size, Size]


def share(seen: Sequence[float], sizes: Three) -> Share:
    """The plane through what was ``seen`` of three labs: the second has more VMs than the first, on
    as many hosts; the third has more hosts than the second, with as many VMs."""
    few, vms, hosts = seen
    first, second, third = sizes
    of_vm = (vms - few) / (second.vms - first.vms)
    of_host = (hosts - vms) / (third.hosts - second.hosts)
    return Share(few - of_host * first.hosts - of_vm * first.vms, of_host, of_vm)


class Capacity(Benchmark):
    """Three labs are measured, and a plane is laid through each of their quantities: CPU seconds of
    building and of an idle lab minute, memory, messages and bytes on the bus in such a minute.
    Then a lab is built that is ten times the largest; the figure is how far it is from the plane,
    in the worst of the quantities.

    Small labs idle within the processor's caches, and a large one does not: what that is worth is
    measured by small labs that take turns, and what is foretold of an idle minute counts it in.
    """

    name: ClassVar[str] = "capacity"
    measures: ClassVar[str] = "10,000 hosts, 20,000 VMs in sim, off what three small labs foretell"
    unit: ClassVar[str] = "%"
    bar: ClassVar[Bar] = Bar(Sense.AT_MOST, 20.0)
    repeats: ClassVar[int] = 1
    sizes: ClassVar[Three] = (Size(250, 500), Size(250, 2000), Size(1000, 2000))
    largest: ClassVar[Size] = Size(10_000, 20_000)
    turns: ClassVar[int] = 10  # labs of the smallest size

    async def run(self, report: Report) -> Figures:
        sizes = (Size(4, 4), Size(4, 16), Size(8, 16)) if self.quick else self.sizes
        largest = Size(16, 32) if self.quick else self.largest
        small = [await self._census(size, report) for size in sizes]
        uncached = await self._measure_in_turns(sizes[0], report)
        seen = await self._census(largest, report)
        details: dict[str, float] = {"idle_uncached": uncached}
        worst = 0.0
        for name in Census.__struct_fields__:
            found = share([float(getattr(one, name)) for one in small], sizes)
            foretold, is_there = found.of(largest), float(getattr(seen, name))
            foretold *= uncached if name == "minute_s" else 1.0
            details |= {
                f"host_{name}": found.host,
                f"vm_{name}": found.vm,
                f"foretold_{name}": foretold,
                f"seen_{name}": is_there,
            }
            worst = max(worst, 100.0 * abs(is_there / foretold - 1.0))
        return Figures(worst, details)

    async def _measure_in_turns(self, size: Size, report: Report) -> float:
        """What an idle minute costs more, as a ratio, when other labs are at work between."""
        lab = lab_of(size.hosts, self._clusters(size), vms=size.vms)
        labs = 2 if self.quick else self.turns
        turns = await measure_in_worker(idle_in_turns, lab, labs)
        report(
            f"  {turns.ratio:.3g} times as much for {size.hosts:,} hosts with {labs - 1} such labs"
        )
        return turns.ratio

    def _clusters(self, size: Size) -> int:
        return size.hosts // (2 if self.quick else CLUSTER)

    async def _census(self, size: Size, report: Report) -> Census:
        lab = lab_of(size.hosts, self._clusters(size), vms=size.vms)
        found = await measure_in_worker(census, lab, MINUTES)
        report(
            f"  {size.hosts:,} hosts, {size.vms:,} VMs: {found.build_s:.3g} s to build, "
            f"{found.memory_mib:.3g} MiB, {found.minute_s:.3g} s and {found.messages:,.0f} "
            "messages for an idle minute"
        )
        return found
