"""A run as JUnit XML: a suite for the experiment, a case for each check and hypothesis."""

from __future__ import annotations

from datetime import UTC, datetime

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from chaos.checks.result import CheckOutcome
from chaos.report.outcomes import ReportedOutcome, outcomes
from chaos.report.story import Story, schedule_digest
from protocol.printable import printable


def junit(story: Story, *, strict: bool = False) -> bytes:
    """The document in UTF-8.

    A failed check is a failure with the faults that were active and the command that shows it
    again; an unknown one is skipped, or with ``strict`` an error. A run that ended for a reason
    that is no check's (a fault that did not bite, a steady state that was not met) has an error of
    its own, so that no pipeline takes it for a good one.
    """
    suite = TestSuite(printable(story.plan.name))
    began = datetime.fromtimestamp(story.began, UTC).replace(tzinfo=None)
    suite.timestamp = began.isoformat(timespec="seconds")  # the schema of Ant has no zone
    for name, value in _properties(story).items():
        suite.add_property(name, printable(value))
    for outcome in outcomes(story):
        suite.add_testcase(_case(outcome, story, strict))
    if _unexplained(story):
        suite.add_testcase(_of_the_run(story))
    suite.time = story.seconds
    document = JUnitXml("keystead")
    document.add_testsuite(suite)
    text: bytes = document.tostring()  # type: ignore[no-untyped-call]
    return text


def _properties(story: Story) -> dict[str, str]:
    return {
        "run": story.run,
        "verdict": story.word,
        "mode": story.mode,
        "seed": str(story.plan.seed),
        "code": story.code,
        "python": story.python,
        "tpm": story.tpm,
        "schedule": schedule_digest(story.plan),
        "trace": "" if story.verdict is None else story.verdict.trace_hash,
        "reproduce": story.reproduce,
    }


def _case(outcome: ReportedOutcome, story: Story, strict: bool) -> TestCase:
    kind = "hypothesis" if outcome.hypothesis else "check"
    case = TestCase(printable(outcome.name), f"{printable(story.plan.name)}.{kind}", 0)
    said = printable(outcome.text)
    match outcome.result:
        case CheckOutcome.FAIL:
            failure = Failure(said, kind)
            failure.text = printable("\n".join(_describe_failure(outcome)))
            case.result = [failure]
        case CheckOutcome.UNKNOWN if strict:
            case.result = [Error(said, "unknown")]
        case CheckOutcome.UNKNOWN:
            case.result = [Skipped(said, "unknown")]
        case CheckOutcome.PASS:
            case.system_out = said
    return case


def _describe_failure(outcome: ReportedOutcome) -> list[str]:
    lines = [outcome.text]
    if outcome.statement:
        lines.append(f"holds a run to: {outcome.statement}")
    if outcome.scene is not None:
        lines.append(f"first seen at record {outcome.scene.first}")
        lines.append(f"active faults: {'; '.join(outcome.scene.faults) or 'none'}")
    return [*lines, f"again: {outcome.reproduce}"]


def _unexplained(story: Story) -> bool:
    """Whether the run is not a good one, and no case of it says so."""
    if story.verdict is None:
        return True
    bad = any(check.result is not CheckOutcome.PASS for check in story.verdict.checks)
    return story.verdict.exit_code != 0 and not bad


def _of_the_run(story: Story) -> TestCase:
    case = TestCase("the run", f"{printable(story.plan.name)}.run", 0)
    reasons = ("it has no verdict",) if story.verdict is None else story.verdict.reasons
    case.result = [Error(printable("; ".join(reasons) or story.word), story.word)]
    return case
