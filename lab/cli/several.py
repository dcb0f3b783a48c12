"""Several experiments by one command: each in its turn, then a table of how they ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from lab.api.answers.experiments import PlayedExperiment, PlayedExperiments
from lab.cli.options import Options
from lab.cli.output import field, say, show
from lab.errors import KeysteadError

if TYPE_CHECKING:
    from chaos.verdict import Verdict
    from lab.runs.store import RunFolder

_WORST_FIRST: Final = (130, 1, 6, 3, 5, 2, 4)
"""Exit codes of a run, by which the whole command ends; those of refusals come after them."""


def play_each(
    names: Sequence[str], play: Callable[[str], tuple[RunFolder, Verdict]], options: Options
) -> int:
    """``play`` each of ``names`` to its run and verdict, and show them; the worst exit code.

    One that is refused is a row of its own, and the others are played. An interrupt is the end of
    the one that it met, and of all that come after it.
    """
    rows: list[PlayedExperiment] = []
    for name in names:
        begun = time.monotonic()
        try:
            folder, verdict = play(name)
            row = _ended(name, folder.run, verdict)
        except KeysteadError as error:
            row = PlayedExperiment(
                experiment=name,
                verdict="refused",
                exit_code=error.exit_code,
                why=" ".join(f"{error.id}: {error}".split()),
            )
        except KeyboardInterrupt:
            row = PlayedExperiment(experiment=name, verdict="interrupted", exit_code=130)
        row = msgspec.structs.replace(row, seconds=round(time.monotonic() - begun, 1))
        rows.append(row)
        say(f"{name}: {row.verdict} (exit {row.exit_code}), {row.seconds:g} s")
        if row.exit_code == 130:
            break
    columns = tuple(map(field, ("experiment", "verdict", "exit_code", "seconds", "run", "why")))
    answer = PlayedExperiments(items=tuple(rows), left=tuple(names[len(rows) :]))
    show(answer, options.output, columns, key="experiment")
    if answer.left:
        say(f"not played: {', '.join(answer.left)}")
    return worst([row.exit_code for row in rows])


def _ended(name: str, run: str, verdict: Verdict) -> PlayedExperiment:
    from chaos.checks.result import CheckOutcome

    bad = [check for check in verdict.checks if check.result is not CheckOutcome.PASS]
    why = verdict.reasons or tuple(f"{check.name}: {check.text}" for check in bad)
    return PlayedExperiment(
        experiment=name,
        verdict=verdict.verdict,
        exit_code=verdict.exit_code,
        run=run,
        why=why[0] if why and verdict.exit_code else "",
    )


def worst(codes: Sequence[int]) -> int:
    """The exit code that tells most of what went wrong; 0 when nothing did."""
    known = [code for code in _WORST_FIRST if code in codes]
    return next(iter(known), max(codes, default=0))
