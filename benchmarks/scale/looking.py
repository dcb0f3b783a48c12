"""What looks cost: at a long inventory, and those of an experiment at its lab."""

from __future__ import annotations

from typing import ClassVar

from benchmarks.benchmark import Bar, Benchmark, Figures, Report, Sense
from benchmarks.experiment import EXPERIMENT
from benchmarks.scale import within
from benchmarks.scale.shapes import lab_of
from benchmarks.scale.workers import measure_in_worker
from chaos.experiment.plan import dump_plan
from lab.play.prepare import prepare


class ListOfHosts(Benchmark):
    """With VMs that are not encrypted: vCenter then looks for one that is, and finds none."""

    name: ClassVar[str] = "list-hosts"
    measures: ClassVar[str] = "ListHosts at 5,000 VMs / at 1,000, 100 hosts, sim"
    unit: ClassVar[str] = "x"
    bar: ClassVar[Bar] = Bar(Sense.AT_MOST, 1.2)

    async def run(self, report: Report) -> Figures:
        hosts, few, many = (2, 4, 8) if self.quick else (100, 1000, 5000)
        below, above = [
            await measure_in_worker(
                within.list_hosts, lab_of(hosts, vms=count, encrypted=False, power="off")
            )
            for count in (few, many)
        ]
        return Figures(above / below, {"few_ms": 1000 * below, "many_ms": 1000 * above})


class Observer(Benchmark):
    """An experiment does little more than look, and a lab that is left alone little less."""

    name: ClassVar[str] = "observer"
    measures: ClassVar[str] = f"play {EXPERIMENT} / the same lab idle as long, sim"
    unit: ClassVar[str] = "x"
    bar: ClassVar[Bar] = Bar(Sense.AT_MOST, 3.0)

    async def run(self, report: Report) -> Figures:
        fewer = {"hosts": 2, "vms": 2} if self.quick else {}
        prepared = prepare(EXPERIMENT, within.SEED, {"tpm": "model", **fewer})
        plan = dump_plan(prepared.plan)
        played, seconds = await measure_in_worker(within.play, plan, prepared.topology)
        idle = await measure_in_worker(within.idle, plan, prepared.topology, seconds)
        details = {"play_ms": 1000 * played, "idle_ms": 1000 * idle, "virtual_s": seconds}
        return Figures(played / idle, details)
