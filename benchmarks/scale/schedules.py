"""Random schedules: many short runs of one lab, each with faults and work of its own, judged."""

from __future__ import annotations

import asyncio
import functools
from contextlib import closing
from typing import Any, ClassVar

from benchmarks.benchmark import Bar, Benchmark, CannotRun, Figures, Report, Sense
from benchmarks.scale.beginnings import SEED, cost_of
from benchmarks.staging import need_tpm
from chaos.draws import Draws
from chaos.experiment.lint import check_experiment
from chaos.experiment.model import Experiment, Scheduled, ScheduleEntry
from chaos.experiment.plan import Plan
from chaos.experiment.resolve import plan
from chaos.faults import fault_type
from chaos.lab import Directory
from lab.play.play import simulate_plan
from lab.play.prepare import topology_of
from lab.serve.session import LabSession
from lab.simulation.sim_lab import BUILDS, SimLab
from lab.simulation.snapshot import BuiltLabs, Origin
from lab.simulation.workers import PRELOAD
from protocol.messages.agent import TpmBackend
from services.runtime.forking.blocking import ForkServer

FAULTLESS = """
apiVersion: keystead/v1
kind: Experiment
name: random-schedule
title: Faults of many kinds while keys are made and guests work
topology: {use: edge, with: {hosts: 4, vms: 8, knobs: {workload_period_s: 5}}}
duration: 270s
workload:
  - {op: key.create, rate: 0.15/s}
  - {op: vm.power_cycle, rate: 0.05/s}
  - {op: vm.encrypt, rate: 0.05/s}
hypothesis:
  before:
    - {probe: vm.running, is: "== 100%", within: 60s}
    - {probe: vm.works, is: "== 100%"}
  recover: {within: 60s}
  after:
    - {probe: vm.works, is: "== 100%"}
    - {probe: vm.locked, is: "== 0%"}
    - {probe: host.connected, is: "== 100%"}
guards: {blast_radius: {hosts: 100%, kms: 1, vcenter: 1}}
schedule: []
"""
SLOT_S = 43.0  # lab seconds from one fault to the next
SERVICE_S, HOST_S = (8.0, 28.0), (8.0, 60.0)  # how long faults of either kind last


@functools.cache
def experiment() -> Experiment:
    """The experiment without faults."""
    return check_experiment(FAULTLESS, "random-schedule")


def stage(lab: SimLab, session: LabSession) -> None:
    """Runs begin when the experiment is read."""
    experiment()


def draw_plan(directory: Directory, seed: int) -> Plan:
    """The plan of a seed: one fault in each slot, in an order that is drawn too."""
    draws = Draws(seed, "schedule")
    hosts = [f"esxi-{number:03d}" for number in range(1, 5)]
    first, second, third, fourth = (hosts.pop(draws.below(len(hosts))) for _ in range(4))
    one, other = ("kms", "vcenter") if draws.below(2) else ("vcenter", "kms")
    left: list[tuple[str, dict[str, Any], tuple[float, float]]] = [
        ("host.power_loss", {"on": first}, HOST_S),
        ("host.power_loss", {"on": second}, HOST_S),
        ("link.cut", {"between": [third, ["role:kms", "role:vcenter"]]}, HOST_S),
        ("proc.pause", {"on": one}, SERVICE_S),
        ("proc.kill", {"on": other}, SERVICE_S),
        ("proc.kill", {"on": fourth}, HOST_S),
    ]
    faults = []
    for slot in range(len(left)):
        kind, values, (least, most) = left.pop(draws.below(len(left)))
        made = fault_type(kind)
        id, at = f"fault-{slot + 1}", SLOT_S * slot + 10 * draws.unit()
        lasts_s = least + (most - least) * draws.unit()
        entry = ScheduleEntry.model_validate(
            {"fault": kind, "id": id, "at": f"{at:.3f}s", "for": f"{lasts_s:.3f}s"}
        )
        params = made.params.model_validate(values)
        faults.append(Scheduled(id=id, place=slot, entry=entry, what=made, params=params))
    return plan(experiment().model_copy(update={"schedule": tuple(faults)}), directory, seed)


def play(lab: SimLab, session: LabSession) -> tuple[str, float]:
    """The run: its verdict, and how many lab seconds it took."""
    before = lab.monotonic()
    verdict, _ = simulate_plan(lab, draw_plan(lab.directory(), lab.seed), "bench")
    return verdict.verdict, lab.monotonic() - before


class _RandomSchedules(Benchmark):
    """Processor time of the whole run, as of ``snapshot-runs``: its fork, the plan that is drawn,
    the play and its checks. Guests work by themselves, once in five lab seconds."""

    unit: ClassVar[str] = "1/min"
    tpm: ClassVar[TpmBackend]

    async def run(self, report: Report) -> Figures:
        if self.tpm is TpmBackend.LIBTPMS:
            need_tpm()
        count = 2 if self.quick else 48
        return await asyncio.to_thread(_runs, self.tpm, count)


def _runs(tpm: TpmBackend, count: int) -> Figures:
    origin = Origin(topology_of(experiment(), {"tpm": tpm.value}), stage=stage)
    seeds = [SEED + BUILDS * number for number in range(count)]  # of one build
    seen: list[tuple[str, float]] = []
    with (
        closing(ForkServer((*PRELOAD, __name__))) as server,
        BuiltLabs(origin, above=server) as snapshot,
    ):
        snapshot.run(SEED, play)  # builds the lab
        cost = cost_of(snapshot.pids[0], lambda seed: seen.append(snapshot.run(seed, play)), seeds)
    strange = sorted({verdict for verdict, _ in seen} - {"pass", "fail", "unknown"})
    if strange:
        raise CannotRun(f"runs ended with {', '.join(strange)}")
    passed = sum(verdict == "pass" for verdict, _ in seen)
    virtual_s = sum(seconds for _, seconds in seen) / count
    return Figures(
        60 / cost, {"run_ms": 1000 * cost, "virtual_s": virtual_s, "passed": passed / count}
    )


class SchedulesWithModel(_RandomSchedules):
    name = "schedules-model"
    measures = "random schedules from a snapshot, judged, per core: 4 hosts, 8 VMs, TPM model"
    tpm = TpmBackend.MODEL
    bar = Bar(Sense.AT_LEAST, 480.0)


class SchedulesWithLibtpms(_RandomSchedules):
    name = "schedules-libtpms"
    measures = "random schedules from a snapshot, judged, per core: 4 hosts, 8 VMs, libtpms"
    tpm = TpmBackend.LIBTPMS
    bar = Bar(Sense.AT_LEAST, 180.0)
