"""Two runs beside each other: verdicts, checks, latency, and what differs first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

import msgspec

from chaos.history import Record
from chaos.report.lanes import DOWN, UNKNOWN, Lane, Segment
from chaos.report.latency import LatencyFigures, figures, samples
from chaos.report.outcomes import ReportedOutcome, outcomes
from chaos.report.story import Story, schedule_digest

AROUND: Final = 5  # records before the first difference, and as many after it


@dataclass(frozen=True, kw_only=True)
class Both:
    """A check or hypothesis of two runs; None where one of them had none of that name."""

    name: str
    a: ReportedOutcome | None
    b: ReportedOutcome | None

    @property
    def differs(self) -> bool:
        """Whether the results do; texts have figures that no two runs share."""
        return (self.a and self.a.result) != (self.b and self.b.result)


@dataclass(frozen=True, kw_only=True)
class Timed:
    """Operations of one kind in one phase of both runs."""

    op: str
    phase: str
    a: LatencyFigures | None
    b: LatencyFigures | None

    @property
    def ratio(self) -> float | None:
        """The median of the second over that of the first; None when there are not both."""
        if self.a is None or self.b is None or not self.a.p50 or self.b.p50 is None:
            return None
        return self.b.p50 / self.a.p50


@dataclass(frozen=True, kw_only=True)
class Parting:
    """Where two histories part: from record ``seq`` on; ``a`` and ``b`` are the records around."""

    seq: int
    a: tuple[Record, ...]
    b: tuple[Record, ...]


@dataclass(frozen=True, kw_only=True)
class Apart:
    """A host or VM that went another way in the second run: where, and what it was then in each;
    None where it stayed as it had been."""

    name: str
    a: Segment | None
    b: Segment | None

    @property
    def t(self) -> float:
        """The earlier of the two moments."""
        return min(found.begin for found in (self.a, self.b) if found is not None)


@dataclass(frozen=True, kw_only=True)
class ComparedRuns:
    """``conditions`` are what was not the same to begin with: name, of the first, of the second.

    ``apart`` is in order of time. ``parting`` is None when the histories are equal, for runs of
    real processes, whose moments are never the same, and for those of different experiments.
    """

    conditions: tuple[tuple[str, str, str], ...]
    apart: tuple[Apart, ...]
    checks: tuple[Both, ...]
    timed: tuple[Timed, ...]
    parting: Parting | None


def compare_runs(a: Story, b: Story) -> ComparedRuns:
    """The first run beside the second."""
    mine = {outcome.name: outcome for outcome in outcomes(a)}
    other = {outcome.name: outcome for outcome in outcomes(b)}
    names = dict.fromkeys((*mine, *other))
    checks = [Both(name=name, a=mine.get(name), b=other.get(name)) for name in names]
    return ComparedRuns(
        conditions=_conditions(a, b),
        apart=apart(a.lanes, b.lanes),
        checks=tuple(sorted(checks, key=lambda both: not both.differs)),
        timed=_compare_times(a, b),
        parting=parting(a.records, b.records) if _comparable(a, b) else None,
    )


def _comparable(a: Story, b: Story) -> bool:
    return a.mode == b.mode == "sim" and a.plan.name == b.plan.name


def _conditions(a: Story, b: Story) -> tuple[tuple[str, str, str], ...]:
    told = [
        (
            ("experiment", story.plan.name),
            ("mode", story.mode),
            ("lab file", msgspec.json.encode(story.plan.topology).decode()),
            ("seed", str(story.plan.seed)),
            ("code", story.code),
            ("Python", story.python),
            ("TPM", story.tpm),
            ("hosts", str(len(story.directory.nodes))),
            ("VMs", str(len(story.directory.vms))),
            ("schedule", schedule_digest(story.plan)),
        )
        for story in (a, b)
    ]
    return tuple(
        (name, one, other) for (name, one), (_, other) in zip(*told, strict=True) if one != other
    )


def _compare_times(a: Story, b: Story) -> tuple[Timed, ...]:
    mine, other = (
        {(found.op, found.phase): found for found in figures(samples(story.records))}
        for story in (a, b)
    )
    return tuple(
        Timed(op=op, phase=phase, a=mine.get((op, phase)), b=other.get((op, phase)))
        for op, phase in dict.fromkeys((*mine, *other))
    )


def apart(a: Sequence[Lane], b: Sequence[Lane]) -> tuple[Apart, ...]:
    """Where hosts and VMs of both runs part: the first state that is not the same in order,
    whenever it came; what could not be seen is no state."""
    other = {lane.name: _states(lane) for lane in b}
    found = []
    for lane in a:
        for one, two in zip_longest(_states(lane), other.get(lane.name, ())):
            if one is None or two is None or one.states != two.states:
                found.append(Apart(name=lane.name, a=one, b=two))
                break
    return tuple(sorted(found, key=lambda one: one.t))


def _states(lane: Lane) -> list[Segment]:
    """Its states in order, each once until it changes."""
    told: list[Segment] = []
    for segment in lane.actual:
        if segment.states[0] not in (UNKNOWN, DOWN) and (
            not told or told[-1].states != segment.states
        ):
            told.append(segment)
    return told


def parting(a: Sequence[Record], b: Sequence[Record]) -> Parting | None:
    """The first record that is not the same in both; None for equal histories.

    Times count to a thousandth of a second. Of ``data``, names count, and values but those that
    are drawn anew in every run, as ids of keys are.
    """
    for seq, (one, other) in enumerate(zip_longest(a, b), start=1):
        if one is None or other is None or _comparable_parts(one) != _comparable_parts(other):
            around = slice(max(0, seq - 1 - AROUND), seq + AROUND)
            return Parting(seq=seq, a=tuple(a[around]), b=tuple(b[around]))
    return None


def _comparable_parts(record: Record) -> tuple[object, ...]:
    data = tuple((name, value) for name, value in record.data.items() if _plain(name, value))
    return round(record.t, 3), record.type, record.op, record.node, tuple(record.data), data


def _plain(name: str, value: object) -> bool:
    """Whether a field is the same whenever the same happens."""
    return name not in _DRAWN and isinstance(value, (str, bool, int))


_DRAWN: Final = frozenset({"key", "ek", "records", "trace"})
