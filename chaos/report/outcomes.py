"""Checks and hypotheses of a run as rows: what each said, and the scene where it was violated.

The same as JUnit XML and as annotations of a GitHub workflow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from chaos.checks import CHECKS, checks_excused
from chaos.checks.result import CheckOutcome, CheckResult, Scene, scene_of
from chaos.history import Record
from chaos.report.story import Story, schedule_digest
from protocol.printable import printable


@dataclass(frozen=True, kw_only=True)
class ReportedOutcome:
    """``hypothesis`` or check; ``invariant`` and ``statement`` are empty for a hypothesis.

    ``records`` it rests on, by number; ``scene`` and ``reproduce`` (a command) for one that failed.
    ``excused``: that it is unknown says nothing against the run.
    """

    name: str
    hypothesis: bool
    result: CheckOutcome
    text: str
    records: tuple[int, ...] = ()
    invariant: str = ""
    statement: str = ""
    scene: Scene | None = None
    reproduce: str = ""
    excused: bool = False


def outcomes(story: Story) -> tuple[ReportedOutcome, ...]:
    """Hypotheses, then checks, each in the order of the verdict; none without a verdict."""
    results = () if story.verdict is None else story.verdict.checks
    found = [_outcome(_add_records(result, story.records), story) for result in results]
    return tuple(sorted(found, key=lambda one: not one.hypothesis))


def select_judged(found: Sequence[ReportedOutcome]) -> tuple[ReportedOutcome, ...]:
    """Those that say something for or against the run."""
    return tuple(one for one in found if not _had_nothing(one))


def select_unexercised(found: Sequence[ReportedOutcome]) -> tuple[ReportedOutcome, ...]:
    """The checks that had nothing to judge, which does not count against the run."""
    return tuple(one for one in found if _had_nothing(one))


def _had_nothing(one: ReportedOutcome) -> bool:
    return one.excused and one.result is CheckOutcome.UNKNOWN


def _add_records(result: CheckResult, records: Sequence[Record]) -> CheckResult:
    """A failed hypothesis with the measurements that show it: of ``during`` all that did not hold,
    else the last one, for the others were tries before the end of its time."""
    when, _, rest = result.name.partition(" ")
    probe = rest.partition(" ")[0]
    if result.result is not CheckOutcome.FAIL or result.name in CHECKS:
        return result
    seqs = tuple(
        record.seq
        for record in records
        if record.type == "probe"
        and (record.op, record.data.get("when")) == (probe, when)
        and not record.data.get("holds")
    )
    return msgspec.structs.replace(result, records=seqs if when == "during" else seqs[-1:])


def _outcome(result: CheckResult, story: Story) -> ReportedOutcome:
    check = CHECKS.get(result.name)
    return ReportedOutcome(
        name=result.name,
        hypothesis=check is None,
        result=result.result,
        text=result.text,
        records=result.records,
        invariant="" if check is None else check.invariant,
        statement="" if check is None else check.statement,
        scene=scene_of(result, story.records),
        reproduce=story.reproduce if result.result is CheckOutcome.FAIL else "",
        excused=result.name in checks_excused(faulted=story.plan.surely_faulty()),
    )


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
