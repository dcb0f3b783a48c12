"""Checks and hypotheses of a run as rows: what each said, and the scene where it was violated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from chaos.checks import CHECKS, checks_excused
from chaos.checks.result import CheckOutcome, CheckResult
from chaos.checks.scene import Scene, scene_of
from chaos.history import Record
from chaos.report.story import Story


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
