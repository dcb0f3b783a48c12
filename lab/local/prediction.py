"""``load predict``: an experiment in virtual time with service times, and what doubling the busiest
node buys. ``load validate``: one load on real processes and in the simulation, with a
profile that is measured meanwhile.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any, Final

import msgspec
from msgspec import structs

from chaos.checks.result import CheckOutcome
from chaos.errors import ChaosError
from chaos.experiment.plan import Plan
from chaos.history import Record
from chaos.load.arrivals import LoadStep, Spread, draw
from chaos.percentiles import value_at
from chaos.report.phases import phases
from chaos.report.plots import HOST, NodeWork, first_saturated, work_of
from chaos.verdict import Verdict
from lab.client import Lab
from lab.core import LabCore
from lab.load.stored_loads import of_run
from lab.local.calibration import (
    MeasuredBlock,
    fit_profile,
    measure_blocks,
    write_profile,
)
from lab.local.experiment_files import BadFile, parameters
from lab.local.stored.reports import story_of
from lab.play.play import play_sim
from lab.play.prepare import Prepared, begin, prepare
from lab.runs.store import RunFolder
from lab.schema.answers.load import LoadPrediction, PredictedNode, PredictedRun
from lab.state.scratch import scratch
from lab.topology.service_times import SHARED_PROCESSES, read_profile
from protocol.errors import InvalidPowerState, ProductError
from protocol.messages.base import Request
from protocol.messages.vcenter.providers import GenerateKey
from protocol.messages.vcenter.vms import PowerOffVm, PowerOnVm
from protocol.terms import NodeName, Role

Play = Callable[[Prepared, RunFolder], Verdict]
Tell = Callable[[str], None]


def predict(
    experiment: str,
    profile: str,
    clusters: int | None,
    given: Sequence[str],
    seed: int | None,
    tell: Tell,
    play: Play = play_sim,
) -> LoadPrediction:
    """Play the experiment once, and again with twice the cores of what was saturated first.

    Each node has cores of its own, as on machines of its own: the machine of a profile that was
    measured by `load calibrate` is left out. KS-TOPO-001 for the profile; ``BadFile`` for the
    errors of an experiment.
    """
    nodes = {
        name: one.model_dump(mode="json", exclude_none=True)
        for name, one in read_profile(profile).nodes.items()
        if name not in SHARED_PROCESSES
    }
    made = _prepare(experiment, nodes, clusters, given, seed)
    hosts, vms = _count_hosts(made), len(made.topology.vms)
    tell(f"{made.plan.name}: {hosts} hosts, {vms} VMs, profile {profile}")
    first = _play(made, play)
    prediction = LoadPrediction(
        experiment=made.plan.name,
        profile=profile,
        hosts=hosts,
        vms=vms,
        seed=made.plan.seed,
        predicted=first,
    )
    if not first.first:
        return prediction
    doubled = str(Role.ESXI) if first.first == HOST else first.first
    tell(f"again, with twice the cores of {doubled}")
    again = _prepare(experiment, _double(nodes, doubled, made), clusters, given, made.plan.seed)
    return structs.replace(prediction, doubled_node=doubled, doubled=_play(again, play))


def _prepare(
    experiment: str,
    nodes: Mapping[str, Any],
    clusters: int | None,
    given: Sequence[str],
    seed: int | None,
) -> Prepared:
    changes = {"clusters": clusters, "service_times": {"nodes": dict(nodes)}}
    try:
        return prepare(experiment, seed, changes, parameters(given), "sim")
    except ChaosError as error:
        raise BadFile(experiment, error) from None


def _double(nodes: Mapping[str, Any], name: str, made: Prepared) -> dict[str, Any]:
    """The same times with twice the cores of a node, or of all hosts."""
    role = str(Role.ESXI) if name == Role.ESXI else made.topology.spec(NodeName(name)).role.value
    own = {**nodes.get(role, {}), **nodes.get(name, {})}
    return {**nodes, name: {**nodes.get(name, {}), "cores": 2 * own.get("cores", 1)}}


def _count_hosts(made: Prepared) -> int:
    return sum(spec.role is Role.ESXI for spec in made.topology.nodes)


def _play(made: Prepared, play: Play) -> PredictedRun:
    folder = begin(made, "sim")
    verdict = play(made, folder)
    story = story_of(folder.run)
    load = of_run(folder)
    nodes = work_of(story.records)
    first = first_saturated(nodes)
    running_s, booted = _running(made.plan, story.records)
    return PredictedRun(
        run=folder.run,
        verdict=verdict.verdict,
        failed=tuple(c.name for c in verdict.checks if c.result is CheckOutcome.FAIL),
        all_running_s=running_s,
        booted=booted,
        p99_ms=None if load is None else load.items[-1].p99_ms,
        first="" if first is None else first.name,
        items=tuple(_node(node, made, story.records) for node in nodes),
    )


def _running(plan: Plan, records: Sequence[Record]) -> tuple[float | None, int]:
    """Seconds until all VMs ran again, and how many hosts booted."""
    found = [record for record in records if record.op == "recovery"]
    heal = phases(records).heal
    ends = [heal if fault.until is None else fault.until for fault in plan.faults]
    if not found or any(record.data["seconds"] is None for record in found):
        return None, len(found)
    return round(max(record.t for record in found) - max(ends, default=heal), 1), len(found)


def _node(node: NodeWork, made: Prepared, records: Sequence[Record]) -> PredictedNode:
    """Of the busiest host: the host that worked most in all."""
    busy_ms: dict[str, int] = {}
    first_ms: dict[str, int] = {}
    for record in records:
        if record.type == "state" and record.op == "counters" and _is(node, record):
            ms = record.data.get("work_busy_ms", 0)
            busy_ms[record.node] = ms - first_ms.setdefault(record.node, ms)
    name = max(busy_ms, key=lambda one: busy_ms[one], default="")
    service = made.topology.spec(NodeName(name)).service if name else None
    return PredictedNode(
        node=node.name,
        cores=1 if service is None else service.cores,
        busy_s=round(busy_ms.get(name, 0) / 1e3, 1),
        peak=node.peak,
        saturated_at=None if node.saturated_at is None else round(node.saturated_at, 1),
        saturated_s=node.saturated_looks,
        most_waiting=node.most_waiting,
    )


def _is(node: NodeWork, record: Record) -> bool:
    if node.name == HOST:
        return bool(record.data.get("role") == Role.ESXI)
    return record.node == node.name


LIMIT_S: Final = 60.0
"""Lab seconds after which an operation has failed."""
MIX: Final = {"key": 70, "off": 15, "on": 15}
"""Weights of what is offered: a new key, and the power of a VM off and on."""
MEASURED: Final = 64
"""Operations of each kind with which the machine is measured before a rate is offered."""
KEPT_UP: Final = 0.9
"""A rate is served when such a share of its operations has ended with the last arrival."""
THROUGHPUT_WITHIN: Final = 0.10
P50_WITHIN: Final = 0.15
P99_WITHIN: Final = 0.30
SATURATION_WITHIN: Final = 0.15
"""How far a prediction may be from what is measured, as a share of it."""


class ServedRate(msgspec.Struct, frozen=True):
    """What came of a nominal ``rate`` of operations a second: arrivals as they were drawn, and
    those that were served until the last arrival, both a second (a VM that is on or off already was
    served, a request for which there was no room was not); latencies in milliseconds of those that
    ended well; how many did not."""

    rate: float
    arrived_per_s: float
    ok_per_s: float
    p50_ms: float
    p99_ms: float
    failed: int

    @property
    def kept_up(self) -> bool:
        """Whether the lab served about as much as arrived."""
        return self.ok_per_s >= KEPT_UP * self.arrived_per_s


class Compared(msgspec.Struct, frozen=True):
    """The same rate on real processes and in the simulation; ``load``: the machine's load average
    meanwhile, which the lab itself is part of."""

    real: ServedRate
    simulated: ServedRate
    load: float = 0.0

    @property
    def apart(self) -> tuple[float, float, float]:
        """How far the simulation is from the real processes, as shares: throughput, p50, p99."""
        pairs = (
            (self.simulated.ok_per_s, self.real.ok_per_s),
            (self.simulated.p50_ms, self.real.p50_ms),
            (self.simulated.p99_ms, self.real.p99_ms),
        )
        throughput, p50, p99 = (_apart(simulated, real) for simulated, real in pairs)
        return throughput, p50, p99

    @property
    def agrees(self) -> bool:
        """Whether the simulated figures are within their limits of the real ones. Latencies count
        where the real lab keeps up: beyond, they are as long as the load lasts."""
        throughput, p50, p99 = self.apart
        if abs(throughput) > THROUGHPUT_WITHIN:
            return False
        if not self.real.kept_up:
            return True
        return abs(p50) <= P50_WITHIN and abs(p99) <= P99_WITHIN


def _apart(simulated: float, real: float) -> float:
    return round(simulated / real - 1, 9) if real else 0.0


async def validate(
    hosts: int,
    rates: Sequence[float],
    seconds: float,
    seed: int,
    repeat: int,
    tell: Tell,
) -> list[Compared]:
    """Offer each rate for ``seconds`` in both modes, ``repeat`` times. The simulation has a profile
    that is measured between the rates, since what other programs do changes it."""
    changes: dict[str, Any] = {"hosts": hosts, "vms": 4 * hosts, "tpm": "none", "pace": 1.0}
    tell(f"lab: {hosts} hosts, {len(rates)} rates, {repeat} times {seconds:g} s each")
    measured: list[MeasuredBlock] = []
    real: list[tuple[ServedRate, float]] = []
    async with Lab("lab", topology="default", seed=seed, pack=1, **changes) as lab:
        for rate in rates:
            taken, loads = [], []
            for number in range(repeat):
                name = f"{rate:g}-{number}"
                measured += await lab.beside(measure_blocks, name, MEASURED)
                taken.append(await lab.beside(offer, rate, seconds, seed + number))
                loads.append(os.getloadavg()[0])
            real.append((middle(taken), median(loads)))
    how = f"{hosts} hosts, between the rates"
    profile = await fit_profile(measured, MEASURED, changes, how, tell)
    tell("simulation: the same rates")
    with scratch("validate") as folder:
        write_profile(profile, folder / "profile.yaml")
        times = {"profile": str(folder / "profile.yaml")}
        async with Lab("sim", topology="default", seed=seed, service_times=times, **changes) as lab:
            simulated = [
                middle([await lab.beside(offer, rate, seconds, seed + n) for n in range(repeat)])
                for rate in rates
            ]
    return [Compared(one, other, load) for (one, load), other in zip(real, simulated, strict=True)]


def middle(taken: Sequence[ServedRate]) -> ServedRate:
    """The median of each figure."""
    return ServedRate(
        taken[0].rate,
        median(one.arrived_per_s for one in taken),
        median(one.ok_per_s for one in taken),
        median(one.p50_ms for one in taken),
        median(one.p99_ms for one in taken),
        sum(one.failed for one in taken),
    )


async def offer(lab: LabCore, rate: float, seconds: float, seed: int) -> ServedRate:
    """Offer Poisson arrivals to the lab's vCenter for ``seconds``, and wait for what they led to.

    Latency counts from when an operation was due (decision 70).
    """
    loop = asyncio.get_running_loop()
    begun, ended, number, latencies, failed = loop.time(), 0, 0, list[float](), 0

    async def one(message: Request[Any], due: float) -> None:
        nonlocal ended, failed
        try:
            await lab.ask(lab.topology.vcenter, message, within_s=LIMIT_S)
        except InvalidPowerState:
            failed += 1  # a VM that is on already: an answer like any other
        except ProductError:
            failed += 1
            return
        else:
            latencies.append(loop.time() - due)
        ended += loop.time() <= begun + seconds

    async with asyncio.TaskGroup() as group:
        for at, message in _draw_operations(lab, rate, seconds, seed):
            number += 1
            await asyncio.sleep(max(begun + at - loop.time(), 0.0))
            group.create_task(one(message, begun + at))
    latencies.sort()
    return ServedRate(
        rate,
        number / seconds,
        ended / seconds,
        (value_at(latencies, 50) or 0.0) * 1e3,
        (value_at(latencies, 99) or 0.0) * 1e3,
        failed,
    )


def _draw_operations(
    lab: LabCore, rate: float, seconds: float, seed: int
) -> Iterator[tuple[float, Request[Any]]]:
    """Seconds after the beginning and what is asked then, in order."""
    vms, name = [plan.vm for plan in lab.topology.vms], f"validate-{rate:g}"
    profile = (LoadStep(rate, rate, seconds),)
    found = draw(profile, MIX, askers=len(vms), seed=seed, spread=Spread.POISSON, name=name)
    for number, (at, kind, who) in enumerate(
        zip(found.at, found.operation, found.who, strict=True)
    ):
        match found.operations[kind]:
            case "key":
                yield at, GenerateKey(operation_id=f"{name}-{seed}-{number}")
            case "off":
                yield at, PowerOffVm(vm=vms[who])
            case _:
                yield at, PowerOnVm(vm=vms[who])


def list_lines(compared: Sequence[Compared]) -> list[str]:
    """The table, and the rate at which each of the two is saturated."""
    lines = [
        "RATE/S  OK/S REAL  SIM     APART   P50 REAL  SIM     APART   P99 REAL  SIM     APART   "
        "LOAD AVERAGE"
    ]
    for pair in compared:
        real, sim = pair.real, pair.simulated
        throughput, p50, p99 = pair.apart
        lines.append(
            f"{real.rate:<6g}  {real.ok_per_s:<9.1f}  {sim.ok_per_s:<6.1f}  {throughput:<+6.0%}  "
            f"{real.p50_ms:<8.1f}  {sim.p50_ms:<6.1f}  {p50:<+6.0%}  "
            f"{real.p99_ms:<8.1f}  {sim.p99_ms:<6.1f}  {p99:<+6.0%}  {pair.load:.1f}"
        )
    agreed = sum(pair.agrees for pair in compared)
    return [
        *lines,
        _saturation(compared),
        f"{agreed} of {len(compared)} rates agree: throughput within {THROUGHPUT_WITHIN:.0%}, and "
        f"where the lab keeps up p50 within {P50_WITHIN:.0%}, p99 within {P99_WITHIN:.0%}",
    ]


def _saturation(compared: Sequence[Compared]) -> str:
    if all(pair.real.kept_up for pair in compared):
        return "saturation: not reached on real processes; offer higher rates"
    if all(pair.simulated.kept_up for pair in compared):
        return "saturation: not reached in the simulation; offer higher rates"
    real = max(pair.real.ok_per_s for pair in compared)
    simulated = max(pair.simulated.ok_per_s for pair in compared)
    apart = _apart(simulated, real)
    word = "agrees" if abs(apart) <= SATURATION_WITHIN else "does not agree"
    return (
        f"saturation: {real:.1f}/s on real processes, {simulated:.1f}/s simulated, {apart:+.0%}: "
        f"{word} (within {SATURATION_WITHIN:.0%})"
    )
