"""What is told of every stored run, whatever has made it: an experiment, the matrix, the sweep."""

from __future__ import annotations

from chaos.verdict import Verdict
from lab.runs.store import RunFolder, RunRecord
from lab.schema.answers.local import FaultInterval, RunDescription

ENDED = "ended"


def description(
    folder: RunFolder,
    record: RunRecord,
    *,
    title: str,
    seconds: float | None,
    verdict: Verdict | None,
    problem: str,
    records: int,
    examples: tuple[str, ...],
    replay_of: str = "",
    hosts: int = 0,
    vms: int = 0,
    faults: tuple[FaultInterval, ...] = (),
) -> RunDescription:
    """The run's own facts with what its maker knows; see ``RunDescription``."""
    return RunDescription(
        run=folder.run,
        experiment=record.experiment,
        title=title,
        mode=record.mode,
        seed=record.seed,
        tpm=record.tpm_text,
        code=record.code,
        python=record.python,
        began=record.began,
        replay_of=replay_of,
        fork_of=record.fork_of,
        fork_at=record.fork_at,
        hosts=hosts,
        vms=vms,
        seconds=seconds,
        faults=faults,
        verdict=verdict,
        state=ENDED if verdict is not None else folder.word(),
        problem=problem,
        records=records,
        folder=str(folder.path),
        examples=examples,
    )
