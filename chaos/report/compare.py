"""Two runs beside each other: verdicts, checks, latency, what differs first, and the differences in
sentences.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

import msgspec

from chaos.checks.result import CheckOutcome
from chaos.history import Record
from chaos.report.availability import VmSightings, outages
from chaos.report.latency import LatencyFigures, figures, samples
from chaos.report.outcomes import ReportedOutcome, outcomes
from chaos.report.shapes import moment
from chaos.report.story import DOWN, UNKNOWN, Lane, Segment, Story, schedule_digest

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


_NAMED: Final = 5
"""Of more hosts, VMs or checks these are named, and the others counted."""
_NOTICEABLE_S: Final = 1.0
"""Lab seconds; how long VMs were down differs by less in runs of one kind."""


@dataclass(frozen=True)
class _DownTime:
    """How long a VM was down in a run, and whether it ran at the end."""

    seconds: float
    back: bool


def tell_differences(a: Story, b: Story) -> tuple[str, ...]:
    """What is otherwise in ``b``, the second run: its fork, the verdict, VMs, hosts, checks."""
    compared = compare_runs(a, b)
    found = [
        *_tell_fork(a, b),
        f"Both runs end with the verdict {a.word}."
        if a.word == b.word
        else f"The verdict is {b.word}; that of the first is {a.word}.",
        *_tell_vms(_down_times(a), _down_times(b)),
        *_tell_hosts([one for one in compared.apart if one.name not in a.directory.vms]),
        *_tell_checks([both for both in compared.checks if both.differs]),
    ]
    return tuple(found)


def _tell_fork(a: Story, b: Story) -> Iterator[str]:
    if not b.fork_of or b.fork_of != a.run:
        return
    known = {fault.id for fault in a.plan.faults}
    for fault in b.plan.forks():
        if fault.id not in known:
            lasts = "" if fault.until is None else f" for {moment(fault.until - fault.at)}"
            same = f"Until {moment(b.fork_at)} both runs are the same."
            yield f"{same} Then the second has: {fault.fault().summary()}{lasts}."


def _down_times(story: Story) -> dict[str, _DownTime]:
    seen = VmSightings(story.records)
    found = {}
    for lane in story.lanes:
        if lane.vm:
            parts = outages(lane, story.seconds, seen)
            found[lane.name] = _DownTime(
                sum(part.seconds for part in parts), all(part.back for part in parts)
            )
    return found


def _tell_vms(a: Mapping[str, _DownTime], b: Mapping[str, _DownTime]) -> Iterator[str]:
    both = [name for name in a if name in b]
    fell = [name for name in both if not a[name].seconds and b[name].seconds]
    stayed = [name for name in both if a[name].seconds and not b[name].seconds]
    rest = [name for name in both if a[name].seconds and b[name].seconds]
    if fell:
        longest = moment(round(max(b[name].seconds for name in fell)))
        yield f"{_count(fell)} down in the second run only, for {longest} at most: {_names(fell)}."
    if stayed:
        yield f"{_count(stayed)} down in the first run only: {_names(stayed)}."

    def by(name: str) -> float:
        return b[name].seconds - a[name].seconds

    for word, sign in (("longer", 1), ("shorter", -1)):
        some = [name for name in rest if sign * by(name) >= _NOTICEABLE_S]
        if some:
            most = moment(round(max(abs(by(name)) for name in some)))
            told = f"down for {word} in the second run, by {most} at most"
            yield f"{_count(some)} {told}: {_names(some)}."
    left = [name for name in both if a[name].back and not b[name].back]
    if left:
        yield f"{_count(left)} not running at the end, in the second run only: {_names(left)}."
    if not (fell or stayed or left or any(abs(by(name)) >= _NOTICEABLE_S for name in rest)):
        yield "Every VM was down for the same time in both."


def _tell_hosts(found: Sequence[Apart]) -> Iterator[str]:
    for one in found[:_NAMED]:
        yield f"{one.name}: {_state(one.b)} in the second run, {_state(one.a)} in the first."
    if len(found) > _NAMED:
        yield f"{len(found) - _NAMED} more hosts went another way."


def _state(segment: Segment | None) -> str:
    if segment is None:
        return "no change"
    return f"{segment.states[0]} from {moment(round(segment.begin, 1))} on"


_ENDED: Final[Mapping[CheckOutcome | None, str]] = {
    CheckOutcome.PASS: "passes",
    CheckOutcome.FAIL: "fails",
    CheckOutcome.UNKNOWN: "is unknown",
    None: "is not judged",
}


def _tell_checks(found: Sequence[Both]) -> Iterator[str]:
    for both in found[:_NAMED]:
        first, second = (None if one is None else one.result for one in (both.a, both.b))
        told = f": {both.b.text}" if both.b is not None and both.b.text else ""
        yield (
            f"{both.name} {_ENDED[second]} in the second run and {_ENDED[first]} in the "
            f"first{told}."
        )
    if len(found) > _NAMED:
        yield f"{len(found) - _NAMED} more checks end otherwise."


def _count(names: Sequence[str]) -> str:
    return "1 VM was" if len(names) == 1 else f"{len(names)} VMs were"


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
