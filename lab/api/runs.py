"""Runs that are stored on this machine."""

from __future__ import annotations

from lab.api.answers.local import RunList, StoredRun
from lab.runs.store import RunFolder, all_runs


def runs() -> RunList:
    """Stored runs, oldest first."""
    return RunList(items=tuple(_stored(folder) for folder in all_runs()))


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
