"""A run as annotations of a GitHub workflow: commands that its log obeys, a line each.

The syntax is GitHub's "workflow commands": ``::error title=...::message``, with percent codes for
what would end a property or the line.
"""

from __future__ import annotations

from collections.abc import Iterator

from chaos.checks.result import CheckOutcome
from chaos.report.outcomes import ReportedOutcome, outcomes
from chaos.report.story import Story

_LINE = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY = {**_LINE, ":": "%3A", ",": "%2C"}


def workflow_lines(story: Story, *, file: str = "", strict: bool = False) -> Iterator[str]:
    """An error for each failure, a warning for each unknown that counts (``strict``: an error for
    every one), and one line for the verdict: a notice when it is pass. ``file`` is the
    experiment's, where GitHub has it."""
    for outcome in outcomes(story):
        if outcome.result is CheckOutcome.FAIL:
            yield _line("error", outcome.name, _failure(outcome), file)
        elif outcome.result is CheckOutcome.UNKNOWN and (strict or not outcome.excused):
            level = "error" if strict else "warning"
            yield _line(level, outcome.name, f"unknown: {outcome.text}", file)
    reasons = () if story.verdict is None else story.verdict.reasons
    head = f"{story.word.upper()}: run {story.run}, seed {story.plan.seed}"
    level = "notice" if story.word == "pass" else "error"
    yield _line(level, story.plan.name, "\n".join((head, *reasons, story.reproduce)), file)


def _failure(outcome: ReportedOutcome) -> str:
    lines = [outcome.text]
    if outcome.scene is not None:
        faults = "; ".join(outcome.scene.faults) or "none"
        lines.append(f"record {outcome.scene.first}; active faults: {faults}")
    return "\n".join((*lines, f"again: {outcome.reproduce}"))


def _line(level: str, title: str, text: str, file: str) -> str:
    place = f"file={_escape(file, _PROPERTY)}," if file else ""
    return f"::{level} {place}title={_escape(title, _PROPERTY)}::{_escape(text, _LINE)}"


def _escape(text: str, codes: dict[str, str]) -> str:
    return "".join(codes.get(sign, sign) for sign in text)
