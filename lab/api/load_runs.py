"""A stored load, told again."""

from __future__ import annotations

from lab.api.answers.load import LoadReport
from lab.api.answers.local import RunDescription
from lab.api.run_description import description
from lab.load.kept import load_of
from lab.runs.store import RunFolder, RunRecord


def loaded(folder: RunFolder, record: RunRecord) -> RunDescription:
    """What a load was; KS-RUN-001 for one without its figures, KS-RUN-004 for damaged ones."""
    made = load_of(folder.run)
    every = made.items[-1]
    return description(
        folder,
        record,
        title=f"{made.rate} at {made.target}: {every.ok} of {every.offered} operations went well",
        seconds=made.warmup + made.seconds,
        verdict=folder.verdict(),
        problem=_problem(made),
        records=0,
        examples=(f"keystead report {folder.run}", f"keystead load compare {folder.run} OTHER"),
    )


def _problem(made: LoadReport) -> str:
    ended = made.facts.get("ended", "")
    saturated = "the generator was saturated" if made.generator.saturated else ""
    return "; ".join(filter(None, (ended, saturated)))
