"""From a load that was offered to its figures, its report and its verdict."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from chaos.load.arrivals import Arrivals, Spread
from chaos.load.histogram import histogram, value_ms
from chaos.load.planned import ALL, Threshold
from chaos.percentiles import value_at
from lab.load.generator import OK, LoadRecord
from lab.schema.answers.load import (
    LoadChange,
    LoadGenerator,
    LoadMoment,
    LoadOperation,
    LoadReport,
    LoadThreshold,
)

LATE_S: Final = 0.01
"""An arrival that was begun later than this by the generator itself is late."""
SATURATED: Final = 0.01
"""A generator of which more than this share of arrivals are late measures itself."""
BUSY: Final = 0.9
"""A generator that had this share of a core to itself, and used it, was as quick as it can be."""
MOMENTS: Final = 240
"""So many pieces at most the time of a load is told in."""
_SHOWN: Final = (50.0, 90.0, 99.0, 99.9)


class Span(NamedTuple):
    """The time of a load, in seconds after its begin: it is measured from ``warmup`` to ``until``,
    when it ended by itself or was ended; ``offered`` is when the last operation was begun,
    ``last`` when the last one had ended."""

    warmup: float
    until: float
    offered: float
    last: float


class LoadFigures:
    """Of one load; operations count by when they were due."""

    def __init__(self, arrivals: Arrivals, record: LoadRecord, begun: int, span: Span) -> None:
        self._arrivals, self._record, self._span = arrivals, record, span
        self._due = [n for n, at in enumerate(arrivals.at) if span.warmup <= at < span.until]
        self._begun = begun
        self._late = array("d", (record.late[n] for n in self._due))
        self.histograms = {name: histogram(self._took(name)) for name in arrivals.operations}
        every = histogram(())
        for one in self.histograms.values():
            every.add(one)
        self.histograms[ALL] = every

    def _of(self, operation: str) -> list[int]:
        """Arrivals of it, all when there is none of that name, which were due."""
        if operation == ALL:
            return self._due
        kind = self._arrivals.operations.index(operation)
        return [n for n in self._due if self._arrivals.operation[n] == kind]

    def _took(self, operation: str) -> list[float]:
        record = self._record
        return [record.took[n] for n in self._of(operation) if record.timed(n)]

    # ---- operations -------------------------------------------------------------------------

    def operations(self) -> tuple[LoadOperation, ...]:
        """Each that was offered, then all of them."""
        return tuple(self._operation(name) for name in (*self._arrivals.operations, ALL))

    def _operation(self, name: str) -> LoadOperation:
        record, made = self._record, self.histograms[name]
        due = [n for n in self._of(name) if n < self._begun or record.took[n] >= 0]
        begun = [n for n in due if n < self._begun]
        ok = sum(record.took[n] >= 0 and record.outcome[n] == OK for n in due)
        errors = Counter(record.error(n) for n in due if record.outcome[n] != OK)
        p50, p90, p99, p999 = (value_ms(made, share) for share in _SHOWN)
        return LoadOperation(
            operation=name,
            offered=len(begun),
            ok=ok,
            failed=errors.total(),
            offered_per_s=round(len(begun) / self._offering_s(), 3),
            ok_per_s=round(ok / self._ending_s(), 3),
            errors=dict(sorted(errors.items())),
            p50_ms=p50,
            p90_ms=p90,
            p99_ms=p99,
            p999_ms=p999,
            max_ms=value_ms(made, 100.0),
            histogram=made.encode().decode(),
        )

    def _offering_s(self) -> float:
        """Seconds from the end of the warm-up until the last arrival was begun."""
        return max(self._span.until, self._span.offered) - self._span.warmup or 1.0

    def _ending_s(self) -> float:
        """Seconds from the end of the warm-up until the last operation had ended."""
        return max(self._span.until, self._span.last) - self._span.warmup or 1.0

    # ---- the generator ----------------------------------------------------------------------

    def generator(
        self, *, outstanding: int, cpu_s: float | None, late_s: float = LATE_S
    ) -> LoadGenerator:
        """``cpu_s``: what the process has used since the end of the warm-up; ``late_s``: so much
        later an arrival is late."""
        late = histogram(self._late)
        many = sum(seconds > late_s for seconds in self._late)
        share = None if cpu_s is None else round(cpu_s / self._ending_s(), 3)
        return LoadGenerator(
            drawn=len(self._due),
            drawn_per_s=round(len(self._due) / (self._span.until - self._span.warmup or 1.0), 3),
            outstanding=outstanding,
            held=sum(self._record.held[n] for n in self._due),
            late=many,
            late_p99_ms=value_ms(late, 99.0) or 0.0,
            late_max_ms=value_ms(late, 100.0) or 0.0,
            saturated=many > SATURATED * len(self._due) or (share or 0.0) >= BUSY,
            cpu_share=share,
        )

    # ---- thresholds and time ----------------------------------------------------------------

    def judge_thresholds(
        self, thresholds: Sequence[Threshold], items: Sequence[LoadOperation]
    ) -> tuple[LoadThreshold, ...]:
        """Each threshold against what was measured."""
        by_name = {item.operation: item for item in items}
        return tuple(self._judge_threshold(one, by_name[one.operation]) for one in thresholds)

    def _judge_threshold(self, one: Threshold, item: LoadOperation) -> LoadThreshold:
        value: float | None
        if one.percentile is not None:
            value = value_ms(self.histograms[one.operation], one.percentile)
            holds = None if value is None else one.holds(value / 1000)
        elif one.what == "rate":
            value, holds = item.ok_per_s, one.holds(item.ok_per_s)
        else:
            ended = item.ok + item.failed
            value = round(item.failed / ended, 6) if ended else None
            holds = None if value is None else one.holds(value)
        return LoadThreshold(threshold=one.text, value=value, holds=holds)

    def excused(self, one: Threshold, own: LoadGenerator, late_s: float = LATE_S) -> bool:
        """Whether a threshold that fails may hold for the server, the generator being ``own``.

        Not when it fails without all that the generator was late with an operation's begin, and
        without its worst lateness for the answer's turn; nor by errors that are answers. Of those
        that waited for room nobody can tell whether a generator that was late made it.
        """
        record, of = self._record, self._of(one.operation)
        if not own.saturated:
            return False
        if (own.cpu_share or 0.0) >= BUSY or one.what == "rate":
            return True
        blurred = sum(record.held[n] and record.late[n] > late_s for n in self._due)
        if blurred > SATURATED * len(self._due):
            return True
        if one.percentile is None:
            ended = [n for n in of if record.took[n] >= 0]
            errors = sum(record.outcome[n] != OK and not record.timed(n) for n in ended)
            return not ended or one.holds(errors / len(ended))
        most = own.late_max_ms / 1000
        took = (max(record.took[n] - record.late[n] - most, 0) for n in of if record.timed(n))
        value = value_ms(histogram(took), one.percentile)
        return value is None or one.holds(value / 1000)

    def moments(self) -> tuple[LoadMoment, ...]:
        """Pieces of equal length, of a whole number of seconds when they last a second or more."""
        piece = max(1.0, -(-self._span.until // MOMENTS)) if self._span.until > 10 else 0.25
        count = max(1, int(-(-self._span.until // piece)))
        pieces: list[list[int]] = [[] for _ in range(count)]
        for number, at in enumerate(self._arrivals.at):
            if at < self._span.until:
                pieces[int(at // piece)].append(number)
        return tuple(self._moment(n * piece, found) for n, found in enumerate(pieces))

    def _moment(self, at: float, due: Sequence[int]) -> LoadMoment:
        record, arrivals = self._record, self._arrivals
        begun = [n for n in due if n < self._begun]
        timed = [n for n in due if record.timed(n)]
        by_kind: dict[str, list[float]] = {}
        for n in timed:
            by_kind.setdefault(arrivals.operations[arrivals.operation[n]], []).append(
                record.took[n]
            )
        every = sorted(record.took[n] for n in timed)
        return LoadMoment(
            at=at,
            offered=len(begun),
            ok=sum(record.took[n] >= 0 and record.outcome[n] == OK for n in due),
            failed=sum(record.outcome[n] != OK for n in due),
            p50_ms=_at(every, 50.0),
            p99_ms=_at(every, 99.0),
            max_ms=_at(every, 100.0),
            p99_of={name: _at(sorted(by_kind[name]), 99.0) or 0.0 for name in sorted(by_kind)},
        )


def _at(ordered: Sequence[float], percentile: float) -> float | None:
    """Milliseconds of a percentile of seconds."""
    value = value_at(ordered, percentile)
    return None if value is None else round(value * 1000, 3)


class LoadTerms(NamedTuple):
    """What a load was asked to be; ``late_s``: what its generator begins so much later is late."""

    target: str
    rate: str
    mix: Mapping[str, int]
    spread: Spread
    seed: int
    warmup: float
    length: float
    thresholds: Sequence[Threshold]
    outstanding: int
    late_s: float = LATE_S


class LoadProgress(Protocol):
    """How far a load got: see ``Generator``."""

    record: LoadRecord
    begun: int
    offered_s: float


def build_report(
    asked: LoadTerms,
    arrivals: Arrivals,
    offer: LoadProgress,
    *,
    ended_s: float,
    cpu_s: float | None,
    interrupted: bool = False,
    verdict: str = "",
    facts: Mapping[str, str] | None = None,
    changes: Sequence[LoadChange] = (),
) -> LoadReport:
    """``ended_s``: seconds from the begin of the load to its end, whoever ended it; ``verdict``:
    of who knows more than the thresholds."""
    verdict = "interrupted" if interrupted else verdict
    whole = asked.warmup + asked.length
    until = min(whole, ended_s) if interrupted else whole
    span = Span(min(asked.warmup, ended_s), until, offer.offered_s, ended_s)
    figures = LoadFigures(arrivals, offer.record, offer.begun, span)
    items = figures.operations()
    thresholds = figures.judge_thresholds(asked.thresholds, items)
    own = figures.generator(outstanding=asked.outstanding, cpu_s=cpu_s, late_s=asked.late_s)
    excused = [figures.excused(one, own, asked.late_s) for one in asked.thresholds]
    return LoadReport(
        target=asked.target,
        run="",
        seed=asked.seed,
        spread=asked.spread,
        rate=asked.rate,
        mix=dict(asked.mix),
        warmup=asked.warmup,
        seconds=round(span.until - span.warmup, 3),
        verdict=verdict or _verdict(thresholds, excused, drawn=own.drawn),
        generator=own,
        items=items,
        thresholds=thresholds,
        moments=figures.moments(),
        facts=dict(facts or {}),
        changes=tuple(changes),
    )


def _verdict(thresholds: Sequence[LoadThreshold], excused: Sequence[bool], *, drawn: int) -> str:
    """What waits in a saturated generator counts as latency: what holds all the same, holds, and
    what would fail without it as well, fails."""
    if not thresholds:
        return "none" if drawn else "unknown"
    failed = [mine for one, mine in zip(thresholds, excused, strict=True) if one.holds is False]
    if not all(failed):
        return "fail"
    return "unknown" if failed or any(one.holds is None for one in thresholds) else "pass"
