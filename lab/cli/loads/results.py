"""What came of a load, for people and files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.cli.asked import Format
from lab.cli.options import LabOptions
from lab.cli.output import document, plain, say, show
from lab.schema.tables import field

if TYPE_CHECKING:
    from lab.schema.answers.load import LoadComparison, LoadOperation, LoadRate, LoadReport

COLUMNS = (
    field("operation"),
    field("offered"),
    field("ok"),
    field("failed"),
    field("ok_per_s", "OK/S"),
    field("p50_ms", "P50 MS"),
    field("p90_ms", "P90 MS"),
    field("p99_ms", "P99 MS"),
    field("p999_ms", "P99.9 MS"),
    field("max_ms", "MAX MS"),
)


def tell(report: LoadReport, options: LabOptions) -> None:
    """Show it."""
    show(report, options.output, COLUMNS, (("ERRORS", _errors),), key="operation")
    if options.output not in (Format.TABLE, Format.WIDE):
        return
    for one in report.items[:-1]:
        if one.errors:
            plain(f"{one.operation}: {_errors(one)}")
    for held in report.thresholds:
        word = {True: "holds", False: "does not hold", None: "nothing to measure"}[held.holds]
        value = "" if held.value is None else f", measured {_value(held.threshold, held.value)}"
        plain(f"{held.threshold}: {word}{value}")
    _own(report)


def _errors(one: LoadOperation) -> str:
    return ", ".join(f"{times} {name}" for name, times in one.errors.items())


def _value(threshold: str, value: float) -> str:
    if ".errors" in threshold:
        return f"{value * 100:g}%"
    return f"{value:g}/s" if ".rate" in threshold else f"{value:g} ms"


def _own(report: LoadReport) -> None:
    """How the generator did, and what that says of the figures."""
    own, every = report.generator, report.items[-1]
    cpu = "" if own.cpu_share is None else f", own CPU {own.cpu_share * 100:.0f} % of a core"
    say(
        f"drawn {own.drawn} ({own.drawn_per_s:g}/s), offered {every.offered}"
        f" ({every.offered_per_s:g}/s), of its own late {own.late}"
        f" (p99 {own.late_p99_ms:g} ms){cpu}"
    )
    if own.held:
        say(f"{own.held} waited for others: {own.outstanding} were under way (--outstanding)")
    if own.saturated:
        say("the load generator was saturated and started too many operations late")
    for change in report.changes:
        say(f"its rate was {change.rate} from {change.at:g} s on: it was changed while it ran")
    facts = ", ".join(f"{name} {value}" for name, value in report.facts.items())
    say(f"{report.verdict}: {facts}")
    if report.run:
        say(f"run {report.run}")


def tell_rate(answer: LoadRate, options: LabOptions) -> None:
    """A changed rate."""
    if options.output in (Format.JSON, Format.YAML):
        document(answer, options.output)
    else:
        plain(f"{answer.run}: {answer.rate} from {answer.at:g} s on, in place of {answer.was}")


def tell_both(answer: LoadComparison, options: LabOptions) -> None:
    """Two loads; what was not the same to begin with is on stderr."""
    columns = (
        field("operation"),
        field("a_ok_per_s", "OK/S A"),
        field("b_ok_per_s", "OK/S B"),
        field("a_failed", "FAILED A"),
        field("b_failed", "FAILED B"),
        field("a_p50_ms", "P50 MS A"),
        field("b_p50_ms", "P50 MS B"),
        field("a_p99_ms", "P99 MS A"),
        field("b_p99_ms", "P99 MS B"),
        field("p99_ratio", "P99 B/A"),
    )
    show(answer, options.output, columns, key="operation")
    for one in answer.conditions:
        say(f"not the same: {one.what}: {one.a} and {one.b}")
