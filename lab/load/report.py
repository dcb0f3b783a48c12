"""From a load that was offered to its report and its verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from chaos.load.arrivals import Arrivals, Spread
from chaos.load.threshold import Threshold
from lab.load.figures import LATE_S, LoadFigures, Span
from lab.load.record import LoadRecord
from lab.schema.answers.load import LoadChange, LoadReport, LoadThreshold


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
