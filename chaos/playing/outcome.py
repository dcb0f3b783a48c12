"""What came of the load of an experiment, from the history of its run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from chaos.checks.result import CheckOutcome, CheckResult
from chaos.experiment.plan import Plan
from chaos.history import Record
from chaos.load.planned import PlannedLoad
from chaos.load.threshold import ALL, Threshold, check_of
from chaos.playing.coming import arrivals_of_run
from chaos.workload import Arrival
from protocol.errors import REGISTRY

BEGUN: Final = "load"
"""The note that tells when the fault phase of a run with a load began."""
_WORD: Final = re.compile(r"[A-Za-z]+")
NO_ANSWER: Final = frozenset({"TimedOut", "Open"})
"""Ids of ends without an answer: how long they were waited for counts. ``Open``: it had not ended
when the run did."""


class Came(NamedTuple):
    """What came of an arrival: seconds from when it was due to when it was invoked (None: it never
    was), and to its end; the id of its error, empty when it went well."""

    arrival: Arrival
    late: float | None
    took: float
    error: str


def came(plan: Plan, records: Sequence[Record]) -> list[Came]:
    """What came of each arrival of the load, in order."""
    if plan.load is None:
        return []
    begin = next((r.t for r in records if r.type == "note" and r.op == BEGUN), None)
    mine = {one.number: one for one in plan.load.mine(arrivals_of_run(plan, records))}
    invoked: dict[int, float] = {}
    ended: dict[int, Record] = {}
    for record in records:
        number = record.data.get("n")
        if number not in mine or record.op != mine[number].op:
            continue
        if record.type == "invoke":
            invoked[number] = record.t
        elif record.type in ("ok", "fail", "info"):
            ended[number] = record
    last = records[-1].t if records else 0.0
    found = []
    for number, arrival in mine.items():
        due = arrival.at + (last if begin is None else begin)
        end, at = ended.get(number), invoked.get(number)
        error = "Open" if end is None else ""
        if end is not None and end.type != "ok":
            error = _id(str(end.data.get("error", end.type)))
        late = None if at is None else max(at - due, 0.0)
        found.append(Came(arrival, late, max((last if end is None else end.t) - due, 0.0), error))
    return found


def _id(text: str) -> str:
    """The name of the product's error that a text has; the text itself where it has none."""
    return next((word for word in _WORD.findall(text) if word in REGISTRY), text)


def judge_load(plan: Plan, records: Sequence[Record]) -> list[CheckResult]:
    """Each threshold of the load as a check of the run."""
    if plan.load is None or not plan.load.thresholds:
        return []
    found = came(plan, records)
    return [_judge_threshold(one, plan.load, found) for one in plan.load.limits()]


def _judge_threshold(one: Threshold, load: PlannedLoad, found: Sequence[Came]) -> CheckResult:
    from chaos.load.histogram import histogram, value_ms

    counted = load.from_s + load.warmup_s
    mine = [
        each
        for each in found
        if each.arrival.at >= counted
        and each.late is not None
        and one.operation in (ALL, load.word_of(each.arrival.op))
    ]
    value: float | None
    if one.percentile is not None:
        timed = (each.took for each in mine if not each.error or each.error in NO_ANSWER)
        value = value_ms(histogram(timed), one.percentile)
        limit, text = one.limit * 1000, "ms"
    elif one.what == "rate":
        last = max((each.arrival.at + each.took for each in mine), default=0.0)
        seconds = max(load.length_s, last - counted)  # until the last of them had ended
        value = round(sum(not each.error for each in mine) / seconds, 3)
        limit, text = one.limit, "/s"
    else:
        value = round(sum(bool(each.error) for each in mine) / len(mine), 6) if mine else None
        limit, text = one.limit, "of all"
    if value is None:
        told, result = "there was nothing to measure", CheckOutcome.UNKNOWN
    else:
        held = one.holds(value / 1000 if text == "ms" else value)
        told = f"measured {value:g} {text}, of {len(mine)} operations; the limit is {limit:g}"
        result = CheckOutcome.PASS if held else CheckOutcome.FAIL
    return CheckResult(name=check_of(one.text), result=result, text=told)
