"""Plays prepared experiments in virtual time, replays stored runs, and forks them: the same run up
to a moment, and from there on with one more fault.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

import msgspec

from chaos.conversation import BusRecording
from chaos.errors import ChaosError
from chaos.experiment.plan import Plan, PlannedFault, dump_plan, load_plan
from chaos.experiment.timeline import both_hold
from chaos.faults import make_fault, to_plain
from chaos.fields import format_s
from chaos.history import History, Record, as_written, read_packed
from chaos.keeper import FaultKeeper
from chaos.lab import Directory
from chaos.observe.sessions import UnansweredRequests
from chaos.playing.engine import run as play_plan
from chaos.progress import Progress, ProgressStep
from chaos.verdict import Exit, Verdict
from lab.forensics.forensics import Forensics
from lab.play.prepare import Prepared, begin
from lab.runs.live import finish
from lab.runs.store import (
    RunFolder,
    RunRecord,
    code_version,
    history_of,
    lock_version,
    python_version,
)
from lab.scan.ledger import keep
from lab.schema.errors import KeysteadError
from lab.schema.refusal import refusal
from lab.simulation.points import SimStrikes
from lab.simulation.scan import Scan
from lab.simulation.sim_lab import SimLab, make
from lab.simulation.workers import workers
from lab.state.checkout import apply_patch, bug_patch
from lab.topology.plan import Topology, directory_of
from services.runtime.sim.ready_queue import StepOrder
from services.runtime.sim.runner import Stopping, WorkerSocket, never_stopping, run_in_worker
from services.runtime.sim.trace import describe_first_difference
from services.runtime.world import TapCallback

TELL_EVERY_S = 0.1


def play_sim(
    prepared: Prepared,
    folder: RunFolder,
    show: Progress | None = None,
    stopping: Stopping = never_stopping,
) -> Verdict:
    """Play it in a worker of its own; blocks until it ends.

    ``show`` hears how far it is. Who asks it to stop ``stopping`` gets the verdict that it was
    interrupted, after everything was healed.
    """
    try:
        record = folder.record()
        with workers() as forks:
            answer = run_in_worker(
                simulate,
                dump_plan(prepared.plan),
                msgspec.msgpack.encode(prepared.topology),
                folder.run,
                str(folder.history),
                str(folder.bus),
                record.scan,
                record.bug,
                server=forks,
                on_message=show,
                stopping=stopping,
            )
        return finish(folder, msgspec.msgpack.decode(answer, type=Verdict))
    finally:
        folder.release()  # without a verdict it is broken off, also where this process goes on


def simulate(
    plan: bytes,
    topology: bytes,
    run: str,
    history: str,
    bus: str = "",
    scan: bool = False,
    bug: str = "",
    *,
    line: WorkerSocket | None = None,
) -> bytes:
    """In the worker: make the lab, play, write the history, and with ``bus`` what was said
    there; the verdict as msgpack. ``scan``: search all of it for every key; ``bug``: plant it;
    ``line``: tell there how far it is. KS-CHAOS-206 when the history finds no room."""
    if bug:
        apply_patch(bug_patch(bug))
    made = load_plan(plan)
    if scan:
        keep()
    lab, _ = make(msgspec.msgpack.decode(topology, type=Topology), made.seed)
    with Path(bus).open("xb") if bus else BytesIO() as file:
        recording = BusRecording(file, lab.monotonic)
        lab.broker.tap = recording.hear if bus else None
        verdict, log = simulate_plan(lab, made, run, scan=scan, line=line)
        recording.close()
    try:
        Path(history).write_bytes(b"".join(map(as_written, log.records)))
    except OSError as error:
        raise KeysteadError("KS-CHAOS-206", f"{history}: {error.strerror}") from None
    return msgspec.msgpack.encode(verdict)


def simulate_plan(
    lab: SimLab, made: Plan, run: str, *, scan: bool = False, line: WorkerSocket | None = None
) -> tuple[Verdict, History]:
    """Play on a simulated lab that is ready; the history stays in memory. ``scan``: this process
    has kept the ledger of keys since before the lab was made."""
    if made.order:
        lab.loop.reseed(lab.seed, StepOrder(made.order))
    keeper = FaultKeeper(lab)
    history = History(None, lab.monotonic)
    lab.broker.tap = _both(lab.broker.tap, UnansweredRequests(history).hear)
    lab.world.spawn(None, "leases", keeper.keep_leases(lab.lease_tick_s))
    telling = Telling(line)
    work = play_plan(
        made,
        lab,
        keeper,
        history,
        telling.show,
        run_id=run,
        trace=lab.loop.trace.hash,
        escapes=lab.defects,
        scan=Scan(lab).record if scan else None,
        opened=Forensics(lab).keys_on,
        strikes=SimStrikes(lab),
        later=lab.loop.call_later,
    )
    telling.task = lab.loop.create_task(work, name="main")
    return lab.loop.run(telling.task), history


@dataclass
class Telling:
    """Tells the owner of a worker how far its run is, and stops the run when that one asks.

    It looks at real time, and nothing in the run depends on it: who tells no more often, and hears
    no word, plays the same.
    """

    line: WorkerSocket | None
    task: asyncio.Task[Verdict] | None = None
    _told_at: float = 0.0
    _stopped: bool = False

    def show(self, step: ProgressStep) -> None:
        """For the engine."""
        now = time.monotonic()
        if self.line is None or (not step.text and now - self._told_at < TELL_EVERY_S):
            return
        self._told_at = now
        self.line.send(step)
        if not self._stopped and self.task is not None and self.line.is_stop_requested():
            self._stopped = True
            self.task.cancel()


def _both(first: TapCallback | None, second: TapCallback) -> TapCallback:
    """Who hears the bus already, and one more."""
    if first is None:
        return second

    def hear(subject: str, reply: str, payload: bytes) -> None:
        first(subject, reply, payload)
        second(subject, reply, payload)

    return hear


# ---- replay ------------------------------------------------------------------------------------


def replay(run: str, *, other_code: bool = False) -> tuple[RunFolder, Verdict]:
    """Play a stored run of the simulation again; KS-RUN-003 when it is not the same again.

    One of another version of the code is refused (KS-RUN-002) unless ``other_code`` is meant: what
    differs then may be because of that.
    """
    old = RunFolder(run)
    record, before, prepared = read_replayable(old, other_code=other_code)
    history = old.read(old.history.name)
    folder = begin(
        prepared,
        "sim",
        replay_of=run,
        fork_of=record.fork_of,
        fork_at=record.fork_at,
        scan=record.scan,
        bug=record.bug,
    )
    verdict = play_sim(prepared, folder)
    if history != folder.history.read_bytes() or before.trace_hash != verdict.trace_hash:
        raise KeysteadError("KS-RUN-003", f"{run}: {_first_difference(old, folder)}")
    return folder, verdict


def read_replayable(
    old: RunFolder, *, other_code: bool = False
) -> tuple[RunRecord, Verdict, Prepared]:
    """A run that can be played again; KS-RUN-002 as of ``replay``."""
    run, record = old.run, old.record()
    if record.mode != "sim":
        raise KeysteadError(
            "KS-RUN-002", f"{run} ran on real processes: its seed fixes the schedule only"
        )
    for what, then, now in (
        ("code", record.code, code_version()),
        ("Python", record.python, python_version()),
        ("requirements.lock", record.lock, lock_version()),
    ):
        if then != now and not other_code:
            raise KeysteadError("KS-RUN-002", f"{run}: {what} was {then}, now it is {now}")
    before = old.verdict()
    if before is not None and before.exit_code == Exit.INTERRUPTED:
        raise KeysteadError("KS-RUN-002", f"{run} was interrupted: nobody can do that again")
    if before is None:
        raise KeysteadError("KS-RUN-002", f"{run} did not come to its end: it has no trace")
    prepared = Prepared(
        plan=old.read_decoded("plan.json", load_plan),
        topology=old.read_decoded("topology.msgpack", msgspec.msgpack.Decoder(Topology).decode),
        text=old.read_decoded("experiment.yaml", bytes.decode),
    )
    return record, before, prepared


def _first_difference(a: RunFolder, b: RunFolder) -> str:
    """Where the histories part, in words; the trace itself is finer than the history."""
    try:
        return _parting_record(a.history, b.history)
    except (ChaosError, msgspec.DecodeError, UnicodeDecodeError) as error:  # it was whole
        raise KeysteadError("KS-RUN-004", f"{a.history}: {error}") from None


def _parting_record(a: Path, b: Path) -> str:
    with a.open("rb") as first, b.open("rb") as second:
        for number, (mine, other) in enumerate(
            zip_longest(read_packed(first), read_packed(second)), 1
        ):
            if mine is None or other is None:
                return f"record {number}: one history has ended, the other goes on"
            if mine != other:
                old, new = msgspec.msgpack.decode(mine), msgspec.msgpack.decode(other)
                record = msgspec.convert(old, Record)
                where = f"record {number}, {record.t:g} s, {record.type} {record.op} {record.node}"
                return f"{where.rstrip()}: {describe_first_difference(old, new)}"
    return "the histories are equal; what was done or said between their records is not"


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
