"""``load predict``: an experiment in virtual time with service times, and what doubling the node
that is saturated first would buy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import structs

from chaos.checks.result import CheckOutcome
from chaos.errors import ChaosError
from chaos.experiment.plan import Plan
from chaos.history import Record
from chaos.report.phases import phases
from chaos.report.work import HOST, NodeWork, first_saturated, work_of
from chaos.verdict import Verdict
from lab.load.kept import of_run
from lab.local.experiment_files import BadFile, parameters
from lab.local.stored.reports import story_of
from lab.play.begin import begin
from lab.play.play import play_sim
from lab.play.prepare import Prepared, prepare
from lab.runs.store import RunFolder
from lab.schema.answers.load import LoadPrediction, PredictedNode, PredictedRun
from lab.topology.service_times import SHARED_PROCESSES, read_profile
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
