"""Runs that are stored on this machine: a list, a description, the checks once more on the history
alone, and the messages of the bus.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from chaos.checks import CHECKS, checks_excused, judge
from chaos.checks.result import CheckOutcome, CheckResult, scene_of
from chaos.conversation import ConversationEnd, Said, conversation
from chaos.errors import ChaosError
from chaos.experiment.plan import Plan, load_plan
from chaos.history import Record
from chaos.report.phases import bands
from chaos.verdict import WORDS
from lab.load.stored_loads import LOAD
from lab.local.stored.descriptions import (
    SWEEP,
    describe_load,
    describe_matrix_run,
    describe_sweep,
    description,
    judge_run,
)
from lab.matrix.run import MATRIX, OUTSIDE
from lab.play.prepare import list_shipped
from lab.runs.store import BROKEN_OFF, RUNNING, RunFolder, RunRecord, all_runs, history_of
from lab.schema.answers.local import (
    CheckedRun,
    FaultInterval,
    JudgedCheck,
    RunDescription,
    RunList,
    StoredRun,
)
from lab.schema.errors import KeysteadError
from lab.schema.refusal import refusal
from lab.topology.plan import Topology
from protocol.messages.base import registry
from protocol.printable import did_you_mean, quote_if_needed
from protocol.terms import Role


def check(run: str, names: Sequence[str] = ()) -> CheckedRun:
    """Judge the history of ``run`` by the checks ``names``, or by those that judged it then; a run
    of the matrix by its own.

    KS-RUN-001 for a run that is not there, KS-USE-002 for a name that is no check, KS-CHAOS-204
    for a history that is not what was written.
    """
    for name in names:
        if name not in CHECKS:
            known = ", ".join(CHECKS)
            raise KeysteadError("KS-USE-002", f"no check is called {name}; there are: {known}")
    folder = RunFolder(run)
    record = folder.record()
    if record.experiment in (MATRIX, OUTSIDE):
        if names:
            text = f"{run} is a run of the matrix, which has checks of its own"
            raise KeysteadError("KS-USE-002", text, "leave --only out")
        return judge_run(folder)
    plan = folder.read_decoded("plan.json", load_plan)
    records = history_of(folder)
    results = tuple(_result(name, records) for name in names or plan.checks)
    items = tuple(_build_check(result, records, record) for result in results)
    ended = folder.verdict()
    return CheckedRun(
        run=run,
        verdict=_verdict(results, plan),
        ended="" if ended is None else ended.verdict,
        items=items,
    )


def _result(name: str, records: Sequence[Record]) -> CheckResult:
    """KS-CHAOS-204 for records that are well chained and not as this version writes them."""
    try:
        return judge((name,), records)[0]
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        text = f"{name} cannot read its records: {type(error).__name__}: {error}"
        raise refusal(ChaosError("KS-CHAOS-204", text)) from None


def reproduce(record: RunRecord) -> str:
    """The command that shows the same again: exactly in the simulation, the same faults in a lab
    of real processes."""
    if record.mode == "sim":
        return f"keystead chaos replay {record.run}"
    again = (*record.options, *(("--scan",) if record.scan else ()))
    words = ("keystead", "chaos", "run", _file_of(record), "--mode", record.mode)
    return shlex.join((*words, "--seed", str(record.seed), *again))


def _file_of(record: RunRecord) -> str:
    """The name of a shipped experiment that is as it was, else the run's own copy of its file."""
    copy = RunFolder(record.run).path / "experiment.yaml"
    for path in list_shipped():
        if path.stem == record.experiment and path.read_bytes() == _bytes(copy):
            return record.experiment
    return str(copy)


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _build_check(result: CheckResult, records: Sequence[Record], record: RunRecord) -> JudgedCheck:
    return JudgedCheck(
        check=result.name,
        invariant=CHECKS[result.name].invariant,
        result=result.result,
        text=result.text,
        records=result.records,
        scene=scene_of(result, records),
        reproduce=reproduce(record) if result.result is CheckOutcome.FAIL else "",
    )


def _verdict(results: Sequence[CheckResult], plan: Plan) -> CheckOutcome:
    """The worst that counts, as the verdict of a run has it."""
    may_be = checks_excused(faulted=plan.surely_faulty())
    if any(r.result is CheckOutcome.FAIL for r in results):
        return CheckOutcome.FAIL
    if any(r.result is CheckOutcome.UNKNOWN and r.name not in may_be for r in results):
        return CheckOutcome.UNKNOWN
    return CheckOutcome.PASS


@dataclass(frozen=True)
class MessageFilter:
    """Which messages: of a node, of a request and its replies, of a time (seconds of the run)."""

    node: str = ""
    message: str = ""
    after_s: float = 0.0
    until_s: float = float("inf")


def read_conversation(run: str, wanted: MessageFilter) -> Iterator[Said | ConversationEnd]:
    """The messages of ``run`` that are wanted, in the broker's order, then the recording's end.

    KS-RUN-001 for a run that is not there, or has no recording; KS-USE-002 for a message that
    nobody says, and at the end for a node that never spoke or heard; KS-CHAOS-204 where the
    recording was changed or cut off.
    """
    if wanted.message and wanted.message not in registry():
        raise KeysteadError("KS-USE-002", f"no message is called {wanted.message}")
    folder = RunFolder(run)
    folder.record()
    if not folder.bus.is_file():
        raise KeysteadError("KS-RUN-001", f"{run} has no recording of its bus")
    return _filter_messages(folder, wanted)


def _filter_messages(folder: RunFolder, wanted: MessageFilter) -> Iterator[Said | ConversationEnd]:
    asked: set[tuple[str, str, int]] = set()  # of requests whose replies are wanted
    nodes: set[str] = set()
    try:
        with folder.bus.open("rb") as file:
            for one in conversation(file):
                if isinstance(one, Said):
                    nodes |= {one.src, one.dst} - {""}
                if isinstance(one, ConversationEnd) or _fits(one, wanted, asked):
                    yield one
    except ChaosError as error:
        raise refusal(error) from None
    if wanted.node and wanted.node not in nodes:
        text = f"no node {quote_if_needed(wanted.node)} spoke or heard in this run"
        raise KeysteadError("KS-USE-002", text + did_you_mean(wanted.node, sorted(nodes)))


def _fits(one: Said, wanted: MessageFilter, asked: set[tuple[str, str, int]]) -> bool:
    if not wanted.after_s <= one.t <= wanted.until_s:
        return False
    if wanted.node and wanted.node not in (one.src, one.dst):
        return False
    if not wanted.message or one.name == wanted.message:
        if one.kind == "request":
            asked.add((one.src, one.dst, one.id))
        return True
    return one.kind in ("reply", "error") and (one.dst, one.src, one.id) in asked


VERDICTS: Final = (*dict.fromkeys(WORDS.values()), "none", RUNNING, BROKEN_OFF)
"""``none`` is of a load without a threshold."""


def runs(
    *, experiment: str = "", verdict: str = "", newest: bool = False, last: int | None = None
) -> RunList:
    """Stored runs, oldest first or ``newest`` first: of one experiment, with one verdict, the
    ``last`` so many of these. KS-USE-003 for a verdict that no run can have."""
    if verdict and verdict not in VERDICTS:
        raise KeysteadError(
            "KS-USE-003", f"--verdict {quote_if_needed(verdict)}: {', '.join(VERDICTS)}"
        )
    if last is not None and last < 1:
        raise KeysteadError("KS-USE-003", f"--last {last}: 1 or more")
    found = _all()
    items = tuple(
        item
        for item in found.items
        if item.experiment == (experiment or item.experiment)
        and item.verdict == (verdict or item.verdict)
    )
    items = items if last is None else items[-last:]
    return RunList(items=items[::-1] if newest else items, damaged=found.damaged)


def _all() -> RunList:
    items, damaged = [], []
    for folder in all_runs():
        try:
            items.append(_build_stored_run(folder))
        except KeysteadError:
            damaged.append(str(folder.path))
    return RunList(items=tuple(items), damaged=tuple(damaged))


def _build_stored_run(folder: RunFolder) -> StoredRun:
    record, verdict = folder.record(), folder.verdict()
    return StoredRun(
        run=record.run,
        experiment=record.experiment,
        mode=record.mode,
        tpm=record.tpm,
        seed=record.seed,
        verdict=folder.word() if verdict is None else verdict.verdict,
        exit_code=None if verdict is None else verdict.exit_code,
        began=record.began,
        trace="" if verdict is None else verdict.trace_hash,
        folder=str(folder.path),
    )


def describe(run: str) -> RunDescription:
    """Everything known of a stored run; KS-RUN-001 when it is not there,
    KS-RUN-004 when a file of it is damaged."""
    folder = RunFolder(run)
    record = folder.record()
    if record.experiment in (MATRIX, OUTSIDE):
        return describe_matrix_run(folder, record)
    if record.experiment == SWEEP:
        return describe_sweep(folder, record)
    if record.experiment == LOAD and (load := describe_load(folder, record)) is not None:
        return load
    plan = folder.read_decoded("plan.json", load_plan)
    topology = folder.read_decoded("topology.msgpack", msgspec.msgpack.Decoder(Topology).decode)
    records: Sequence[Record] = ()
    problem = ""
    try:
        records = history_of(folder)
    except KeysteadError as error:
        problem = str(error)
    return description(
        folder,
        record,
        title=plan.title,
        replay_of=record.replay_of,
        hosts=sum(spec.role is Role.ESXI for spec in topology.nodes),
        vms=len(topology.vms),
        seconds=records[-1].t if records else None,
        faults=intervals(records),
        verdict=folder.verdict(),
        problem=problem,
        records=len(records),
        examples=(f"keystead check {run}", f"keystead chaos tap {run}", reproduce(record)),
    )


def intervals(records: Sequence[Record]) -> tuple[FaultInterval, ...]:
    """The faults of a history in the order in which they began."""
    return tuple(
        FaultInterval(
            id=band.id,
            fault=band.kind,
            summary=band.summary,
            began=band.began,
            ended=band.ended,
            error=band.error,
        )
        for band in bands(records)
    )
