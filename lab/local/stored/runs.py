"""Runs that are stored on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from chaos.experiment.plan import load_plan
from chaos.history import Record
from chaos.report.bands import bands
from chaos.verdict import WORDS
from lab.load.kept import LOAD
from lab.local.stored.checking import reproduce
from lab.local.stored.load_runs import describe_load
from lab.local.stored.matrix_runs import describe_matrix_run
from lab.local.stored.run_description import description
from lab.local.stored.sweep_runs import SWEEP, describe_sweep
from lab.matrix.outside import OUTSIDE
from lab.matrix.run import MATRIX
from lab.runs.store import BROKEN_OFF, RUNNING, RunFolder, all_runs, history_of
from lab.schema.answers.local import FaultInterval, RunDescription, RunList, StoredRun
from lab.schema.errors import KeysteadError
from lab.topology.plan import Topology
from protocol.printable import quote_if_needed
from protocol.terms import Role

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
