"""Forks of stored runs: the same run up to a moment, and from there on with one more fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any, Final

import msgspec

from chaos.errors import ChaosError
from chaos.experiment.plan import Plan, PlannedFault
from chaos.experiment.timeline import both_hold
from chaos.faults import make_fault, to_plain
from chaos.history import Record
from chaos.lab import Directory
from chaos.progress import Progress
from chaos.units import format_s
from chaos.verdict import Exit, Verdict
from lab.play.begin import begin
from lab.play.play import play_sim, read_replayable
from lab.play.prepare import Prepared
from lab.runs.store import RunFolder, history_of
from lab.schema.errors import KeysteadError
from lab.schema.refusal import refusal
from lab.topology.directory import directory_of
from services.runtime.sim.runner import Stopping, never_stopping

_DIGITS: Final = 6  # of lab seconds


def fork(
    run: str,
    at_s: float,
    kind: str,
    values: Mapping[str, Any],
    *,
    lasts_s: float | None = None,
    other_code: bool = False,
    show: Progress | None = None,
    stopping: Stopping = never_stopping,
) -> tuple[RunFolder, Verdict]:
    """Play a stored run of the simulation again, with one more fault from ``at_s`` on (seconds of
    the run); it lasts ``lasts_s`` lab seconds, or until the fault phase ends.

    Up to ``at_s`` the new run is the old one, record by record: KS-RUN-003 when it is not.
    KS-RUN-002 for a run that cannot be replayed (see ``replay``), KS-USE-003 for a moment outside
    of its fault phase, KS-CHAOS-020 for a fault that would undo one of the run's own; other ids of
    chaos for a fault that cannot be made.
    """
    old = RunFolder(run)
    record, _, prepared = read_replayable(old, other_code=other_code)
    records = history_of(old)
    directory = directory_of(prepared.topology)
    try:
        plan, added = _fork_plan(
            prepared.plan, records, directory, (run, at_s, lasts_s), kind, values
        )
    except ChaosError as error:
        raise refusal(error) from None
    note = f"# Fork of the run {run} at {at_s:g} s: {added.fault().summary()}\n"
    forked = Prepared(
        plan=plan,
        topology=prepared.topology,
        text=note + prepared.text,
        options=prepared.options,
    )
    folder = begin(forked, "sim", fork_of=run, fork_at=at_s, scan=record.scan, bug=record.bug)
    verdict = play_sim(forked, folder, show, stopping)
    if verdict.exit_code != Exit.INTERRUPTED:
        _check_same(run, records, history_of(folder), at_s)
    return folder, verdict


def fault_phase_of(plan: Plan, records: Sequence[Record]) -> tuple[float, float] | None:
    """When the fault phase of a run began and when it was to end, in seconds of the run, as its
    operations and faults tell; None for a run without either."""
    planned: dict[str | int, float] = {a.number: a.at for a in plan.arrivals}
    planned |= {f.id: f.at for f in plan.faults if f.cue is None}
    begins = [
        record.t - planned[key]
        for record in records
        if (key := _key_of(record)) is not None and key in planned
    ]
    return (min(begins), min(begins) + plan.duration_s) if begins else None


def _key_of(record: Record) -> str | int | None:
    """Which arrival or fault begins with this record."""
    if record.type == "invoke":
        return None if "action" in record.data else record.data.get("n")
    is_begin = record.type == "note" and record.op == "inject"
    return record.data.get("id") if is_begin else None


def _fork_plan(
    plan: Plan,
    records: Sequence[Record],
    directory: Directory,
    where: tuple[str, float, float | None],
    kind: str,
    values: Mapping[str, Any],
) -> tuple[Plan, PlannedFault]:
    """The plan with the new fault, and that fault."""
    run, at_s, lasts_s = where
    phase = fault_phase_of(plan, records)
    if phase is None:
        raise KeysteadError("KS-USE-003", f"{run} has no fault phase: nothing was done to its lab")
    begin_s, end_s = phase
    if not begin_s <= at_s < end_s:
        text = f"the fault phase of {run} lasts from {begin_s:.1f}s to {end_s:.1f}s"
        raise KeysteadError("KS-USE-003", f"--at {format_s(at_s)}: {text}")
    at = round(at_s - begin_s, _DIGITS)
    until = None if lasts_s is None else round(at + lasts_s, _DIGITS)
    fault = make_fault(kind, _free_id(plan), values, directory, plan.seed)
    added = PlannedFault(
        id=fault.id,
        kind=kind,
        at=at,
        until=until,
        cure=False,
        values=to_plain(fault),
        forked=True,
    )
    for other in plan.faults:
        if held := both_hold(added, other, plan.duration_s):
            text = f"{kind} and {other.id!r} of the run hold the {held} at the same time"
            raise ChaosError("KS-CHAOS-020", text)
    duration_s = max(plan.duration_s, until or 0.0)
    if duration_s > plan.max_duration_s:
        text = f"the fault ends at {duration_s:g} s, max_duration is {plan.max_duration_s:g} s"
        raise ChaosError("KS-CHAOS-013", text)
    faults = tuple(sorted((*plan.faults, added), key=lambda one: one.at))
    return msgspec.structs.replace(plan, faults=faults, duration_s=duration_s), added


def _free_id(plan: Plan) -> str:
    taken = {planned.id for planned in plan.entries()}
    return next(id for id in (f"fork-{n}" for n in range(1, 10_000)) if id not in taken)


def _check_same(run: str, old: Sequence[Record], new: Sequence[Record], at_s: float) -> None:
    """KS-RUN-003 when a record before the fork is not the same in both."""
    for one, other in zip_longest(old, new):
        if min(record.t for record in (one, other) if record is not None) >= at_s:
            return
        if one != other:
            seq = max(record.seq for record in (one, other) if record is not None)
            raise KeysteadError("KS-RUN-003", f"{run}: its fork differs from it at record {seq}")
