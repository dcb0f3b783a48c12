"""A stored load, told again."""

from __future__ import annotations

from chaos.history import until_cut
from lab.load.kept import LOAD_MODE, find_report, is_load, nothing_of
from lab.local.stored.run_description import description
from lab.runs.store import RunFolder, RunRecord
from lab.schema.answers.load import LoadReport
from lab.schema.answers.local import RunDescription


def describe_load(folder: RunFolder, record: RunRecord) -> RunDescription | None:
    """What a load was; None for one on a lab that has measured nothing, of which its plan tells.
    KS-RUN-004 for damaged figures."""
    made = find_report(folder)
    if made is None and not is_load(record):
        return None
    if made is None:
        title, seconds, problem = f"a load ({LOAD_MODE})", None, nothing_of(folder)
        examples: tuple[str, ...] = ()
    else:
        every = made.items[-1]
        title = f"{made.rate} at {made.target}: {every.ok} of {every.offered} operations went well"
        seconds, problem = made.warmup + made.seconds, _problem(made)
        run = folder.run
        examples = (f"keystead report {run}", f"keystead load compare {run} OTHER")
    return description(
        folder,
        record,
        title=title,
        seconds=seconds,
        verdict=folder.verdict(),
        problem=problem,
        records=len(until_cut(folder.history)) if folder.history.is_file() else 0,
        examples=examples,
    )


def _problem(made: LoadReport) -> str:
    ended = made.facts.get("ended", "")
    saturated = "the generator was saturated" if made.generator.saturated else ""
    return "; ".join(filter(None, (ended, saturated)))
