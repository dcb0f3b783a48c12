"""Runs that are stored on this machine."""

from __future__ import annotations

from lab.api.answers.local import RunList, StoredRun
from lab.runs.store import RunFolder, all_runs


def runs() -> RunList:
    """Stored runs, oldest first."""
    return RunList(items=tuple(_stored(folder) for folder in all_runs()))


def _stored(folder: RunFolder) -> StoredRun:
    record, result = folder.record(), folder.result()
    return StoredRun(
        run=record.run,
        experiment=record.experiment,
        mode=record.mode,
        tpm=record.tpm,
        seed=record.seed,
        verdict=result["verdict"] if result else "none",
        exit_code=result["exit_code"] if result else None,
        trace=result["trace_hash"] if result else "",
        folder=str(folder.path),
    )
