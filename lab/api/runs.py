"""Runs that are stored on this machine."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from chaos.experiment.plan import load_plan
from chaos.history import Record
from chaos.report.bands import bands
from lab.api.answers.local import FaultInterval, RunDescription, RunList, StoredRun
from lab.api.checking import history_of, reproduce
from lab.errors import KeysteadError
from lab.runs.store import RunFolder, all_runs
from lab.topology.plan import Topology
from protocol.terms import Role


def runs() -> RunList:
    """Stored runs, oldest first."""
    items, damaged = [], []
    for folder in all_runs():
        try:
            items.append(_stored(folder))
        except KeysteadError:
            damaged.append(str(folder.path))
    return RunList(items=tuple(items), damaged=tuple(damaged))


def _stored(folder: RunFolder) -> StoredRun:
    record, verdict = folder.record(), folder.verdict()
    return StoredRun(
        run=record.run,
        experiment=record.experiment,
        mode=record.mode,
        tpm=record.tpm,
        seed=record.seed,
        verdict="none" if verdict is None else verdict.verdict,
        exit_code=None if verdict is None else verdict.exit_code,
        trace="" if verdict is None else verdict.trace_hash,
        folder=str(folder.path),
    )


def describe(run: str) -> RunDescription:
    """Everything known of a stored run; KS-RUN-001 when it is not there,
    KS-RUN-004 when a file of it is damaged."""
    folder = RunFolder(run)
    record, plan = folder.record(), folder.decoded("plan.json", load_plan)
    topology = folder.decoded("topology.msgpack", msgspec.msgpack.Decoder(Topology).decode)
    records: Sequence[Record] = ()
    problem = ""
    try:
        records = history_of(folder)
    except KeysteadError as error:
        problem = str(error)
    return RunDescription(
        run=run,
        experiment=record.experiment,
        title=plan.title,
        mode=record.mode,
        seed=record.seed,
        tpm=record.tpm,
        code=record.code,
        python=record.python,
        began=record.began,
        replay_of=record.replay_of,
        hosts=sum(spec.role is Role.ESXI for spec in topology.nodes),
        vms=len(topology.vms),
        seconds=records[-1].t if records else None,
        faults=intervals(records),
        verdict=folder.verdict(),
        problem=problem,
        records=len(records),
        folder=str(folder.path),
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
