"""The load of a run: its arrivals as they come, some of which may be drawn anew while it runs, and
what came of them, read from the history.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Final, NamedTuple

from chaos.checks.result import CheckOutcome, CheckResult
from chaos.experiment.plan import Plan
from chaos.history import History, Record
from chaos.load.arrivals import read_rate
from chaos.load.planned import ALL, PlannedLoad, Threshold, check_of
from chaos.workload import ARRIVALS_LIMIT, Arrival
from protocol.errors import REGISTRY

CHANGED: Final = "load.rate"
"""The note of a change: from ``at`` seconds of the fault phase on its load's ``rate`` was this."""


class Unchangeable(Exception):
    """A load cannot be changed so now."""


class Coming:
    """Of one run. ``now``: seconds of its fault phase; ``sleep_to``: wait until then."""

    def __init__(
        self,
        plan: Plan,
        history: History,
        now: Callable[[], float],
        sleep_to: Callable[[float], Awaitable[None]],
    ) -> None:
        self.load = plan.load
        self._plan, self._history = plan, history
        self._now, self._sleep_to = now, sleep_to
        self._left = list(reversed(plan.arrivals))
        self._changes: list[tuple[float, str]] = []
        self._nap: asyncio.Task[None] | None = None
        self.open = False
        """Whether its load may be changed, so that its end is waited for."""

    async def next(self) -> Arrival | None:
        """The next one, when it is due; None when there will be none any more."""
        if not self.open:
            if self._left:
                await self._sleep_to(self._left[-1].at)
            return self._left.pop() if self._left else None
        while self._now() < (at := self._left[-1].at if self._left else self._until):
            await self._sleep(at)
        return self._left.pop() if self._left else None

    @property
    def _until(self) -> float:
        return 0.0 if self.load is None else self.load.until_s

    async def _sleep(self, at: float) -> None:
        """Until then, or until a change."""
        async with asyncio.TaskGroup() as group:
            self._nap = group.create_task(self._until_then(at), name="nap")

    async def _until_then(self, at: float) -> None:
        await self._sleep_to(at)

    def change(self, rate: str) -> tuple[float, str]:
        """Have the rest of its load come at this rate: when that began, in seconds of the fault
        phase, and the rate before. ``ValueError`` for no rate, ``Unchangeable`` when it cannot be
        now."""
        load, wanted, now = self.load, read_rate(rate), self._now()
        if load is None or not self.open or now >= load.until_s:
            raise Unchangeable("all of it has been offered")
        expected = len(self._plan.arrivals) + wanted * (load.until_s - now)
        if expected > ARRIVALS_LIMIT:
            text = f"about {expected:.0f} operations would be offered; at most {ARRIVALS_LIMIT} are"
            raise Unchangeable(text)
        was = self._changes[-1][1] if self._changes else load.rate
        self._changes.append((now, rate.strip()))
        left = _after(self._plan, self._left[::-1], len(self._changes), now, wanted)
        self._left = left[::-1]
        self._history.add("note", op=CHANGED, at=now, rate=rate.strip())
        if self._nap is not None:
            self._nap.cancel()
        return now, was


LoadControl = Callable[[Coming], AbstractAsyncContextManager[None]]
"""Lets people in who change a load while it comes."""


def no_load_control(coming: Coming) -> AbstractAsyncContextManager[None]:
    """Nobody can change it."""
    return nullcontext()


def changes(records: Sequence[Record]) -> list[tuple[float, str]]:
    """When the rate of a run's load was changed, in seconds of its fault phase, and to what."""
    return [
        (float(record.data["at"]), str(record.data["rate"]))
        for record in records
        if record.type == "note" and record.op == CHANGED
    ]


def arrivals_of_run(plan: Plan, records: Sequence[Record]) -> tuple[Arrival, ...]:
    """The arrivals of a run as they were, whoever changed its load meanwhile."""
    arrivals = list(plan.arrivals)
    for nth, (at, rate) in enumerate(changes(records), 1):
        arrivals = _after(plan, arrivals, nth, at, read_rate(rate))
    return tuple(arrivals)


def _after(
    plan: Plan, arrivals: Sequence[Arrival], nth: int, at: float, rate: float
) -> list[Arrival]:
    """What there is of ``arrivals``, in order, after the ``nth`` change of the load."""
    if plan.load is None:
        return list(arrivals)
    kept = [one for one in arrivals if one.at <= at or not plan.load.word_of(one.op)]
    drawn = plan.load.draw_rest(plan.seed, nth, at, rate)
    fresh = [
        Arrival(at=when, op=op, target=target, number=nth * FRESH + place)
        for place, (when, op, target) in enumerate(drawn)
    ]
    return sorted((*kept, *fresh), key=lambda one: one.at)


FRESH: Final = 1_000_000
"""Numbers of arrivals of a change begin at so many times its own; those of a plan lie below."""


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
