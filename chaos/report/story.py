"""A run as its folder tells it: all that a report is made of.

Lanes are what each host and VM was, over a run, beside what the rules let it be.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import msgspec

from chaos.checks.states import GRACE_S
from chaos.experiment.plan import Plan
from chaos.faults import EFFECTS
from chaos.history import Record
from chaos.lab import Directory
from chaos.oracle.fold.answers import Allowed
from chaos.oracle.fold.fold import Fold
from chaos.oracle.fold.ways import RUNNING
from chaos.verdict import Verdict

UNKNOWN, DOWN = "unknown", "down"


@dataclass(frozen=True, kw_only=True)
class Segment:
    """From ``begin`` to ``end`` (seconds of the run) it was, or might be, one of ``states``.

    ``seq`` is the record that shows it first, ``because`` the reasons of the rules.
    """

    begin: float
    end: float
    states: tuple[str, ...]
    seq: int = 0
    because: str = ""


@dataclass(frozen=True, kw_only=True)
class Odd:
    """It was what it might not be; ``late``: for no longer than a change may take."""

    begin: float
    end: float
    seen: str
    allowed: Segment
    late: bool


@dataclass(frozen=True, kw_only=True)
class Lane:
    """A host, or a VM under the host that had it first; both rows cover the same time."""

    name: str
    host: str
    actual: tuple[Segment, ...]
    expected: tuple[Segment, ...]

    @property
    def vm(self) -> bool:
        """Whether it is a VM."""
        return bool(self.host)

    @property
    def changes(self) -> bool:
        """Whether it was ever anything else than at first."""
        return len(self.actual) > 1

    def segments_until(self, until: float) -> tuple[Segment, ...]:
        """What it was until then, from the first time that anybody could tell."""
        there = [replace(s, end=min(s.end, until)) for s in self.actual if s.begin < until]
        return tuple(there[there[0].states == (UNKNOWN,) :]) if there else ()

    def odd(self) -> tuple[Odd, ...]:
        """Where it was not what it might be."""
        return tuple(
            Odd(begin=begin, end=end, seen=seen, allowed=allowed, late=end - begin < GRACE_S)
            for begin, end, seen, allowed in _overlaps(self.actual, self.expected)
            if seen not in (*allowed.states, UNKNOWN, DOWN)
        )


def _overlaps(
    actual: Iterable[Segment], expected: Sequence[Segment]
) -> Iterable[tuple[float, float, str, Segment]]:
    for one in actual:
        for other in expected:
            begin, end = max(one.begin, other.begin), min(one.end, other.end)
            if begin < end and other.states:
                yield begin, end, one.states[0], other


class _Strip:
    """Segments of one row as they grow."""

    def __init__(self) -> None:
        self.segments: list[Segment] = []

    def see(self, t: float, states: tuple[str, ...], seq: int = 0, because: str = "") -> None:
        if self.segments:
            last = self.segments[-1]
            if last.states == states:
                return
            self.segments[-1] = replace(last, end=t)
        self.segments.append(Segment(begin=t, end=t, states=states, seq=seq, because=because))

    def close(self, end: float) -> tuple[Segment, ...]:
        if self.segments:
            self.segments[-1] = replace(self.segments[-1], end=end)
        return tuple(segment for segment in self.segments if segment.begin < segment.end)


class _Rows:
    """Both strips of every host and VM."""

    def __init__(self, fold: Fold) -> None:
        self.fold = fold
        self.actual: dict[str, _Strip] = {}
        self.expected: dict[str, _Strip] = {}
        self._listed: dict[str, dict[str, None]] = {}  # VMs that each host ever listed

    def note_listed(self, record: Record) -> None:
        """A host says something of a VM."""
        if record.node in self.fold.vms:
            self._listed.setdefault(self.fold.vms[record.node].host, {})[record.node] = None

    def of(self, host: str) -> Iterable[str]:
        """The VMs that the host has now."""
        vms = self.fold.vms
        return (n for n in self._listed.get(host, ()) if n in vms and vms[n].host == host)

    def note_seen(self, names: Iterable[str], record: Record) -> None:
        for name in names:
            state = self._state(name)
            if state:
                strip = self.actual.setdefault(name, _Strip())
                strip.see(record.t, (state,), record.seq)

    def _state(self, name: str) -> str:
        fold = self.fold
        if name in fold.hosts:
            return (fold.observe_host(name) or UNKNOWN) if name in fold.nodes else ""
        host = fold.vms[name].host
        if host not in fold.nodes:
            return ""
        return fold.observe_vm(name) or (UNKNOWN if fold.nodes[host].state == RUNNING else DOWN)

    def note_allowed(self, t: float) -> None:
        """What a look is held against."""
        fold = self.fold
        for name in fold.hosts:
            if name in fold.nodes:
                self._note_allowed_of(name, t, fold.host_allowance(name))
        for name in fold.vms:
            self._note_allowed_of(
                name, t, fold.vm_allowance(name) if fold.observe_vm(name) else None
            )

    def _note_allowed_of(self, name: str, t: float, found: Allowed | None) -> None:
        strip = self.expected.setdefault(name, _Strip())
        states = () if found is None else tuple(sorted(found.states))
        if not strip.segments or strip.segments[-1].states != states:
            strip.see(t, states, because="" if found is None else found.because)


def lanes(records: Sequence[Record], until: float | None = None) -> tuple[Lane, ...]:
    """A lane for each host in the order of the lab, with its VMs after it; none of a history
    without states. What was seen last goes on ``until`` then, or to the last record."""
    fold = Fold(EFFECTS)
    rows = _Rows(fold)
    for record in records:
        fold.take(record)
        if record.type != "state":
            continue
        match record.op:
            case "node" if record.node in fold.hosts:
                rows.note_seen((record.node, *rows.of(record.node)), record)
            case "host" | "vm" if record.node in fold.hosts or record.node in fold.vms:
                # What a host says of its VMs follows what it says of itself.
                rows.note_listed(record)
                rows.note_seen((record.node,), record)
            case "look":
                rows.note_seen(fold.vms, record)
                rows.note_allowed(record.t)
    last = records[-1].t if records else 0.0
    end = last if until is None else until
    names = [(name, host) for host in fold.hosts for name in (host, *sorted(rows.of(host)))]
    empty = _Strip()
    return tuple(
        Lane(
            name=name,
            host="" if name == host else host,
            actual=rows.actual[name].close(end),
            expected=rows.expected.get(name, empty).close(end),
        )
        for name, host in names
        if name in rows.actual
    )


@dataclass(frozen=True, kw_only=True)
class Story:
    """One run. ``began`` in Unix seconds; ``code`` is the digest of the sources that ran,
    ``python`` and ``tpm`` what they ran on; ``reproduce`` the command that shows the same again.

    ``titles`` are those of the rules, by id, for people.
    ``fork_of`` is a run that was the same up to ``fork_at``, in seconds of the run.
    ``verdict`` is None of a run that was broken off before it had one.
    """

    run: str
    mode: str
    code: str
    python: str
    tpm: str
    began: float
    plan: Plan
    directory: Directory
    verdict: Verdict | None
    records: tuple[Record, ...]
    reproduce: str
    replay_of: str = ""
    fork_of: str = ""
    fork_at: float = 0.0
    titles: Mapping[str, str] = field(default_factory=dict)

    @property
    def word(self) -> str:
        """The verdict in a word; ``broken off`` when there is none."""
        return "broken off" if self.verdict is None else self.verdict.verdict

    @property
    def seconds(self) -> float:
        """Lab seconds from the first record to the last."""
        return self.records[-1].t if self.records else 0.0

    @property
    def drawn(self) -> float:
        """Seconds that pictures of it show: a little more, so that what was seen last is wide
        enough to be seen."""
        return self.seconds * 1.012

    @cached_property
    def lanes(self) -> tuple[Lane, ...]:
        """Those of its hosts and VMs, as wide as pictures show them; folded once."""
        return lanes(self.records, self.drawn)


def schedule_digest(plan: Plan) -> str:
    """Names what was planned: equal for two runs with the same faults and operations at the same
    times, whatever the seed or the file's text."""
    planned = msgspec.json.encode((plan.faults, plan.arrivals, plan.duration_s))
    return hashlib.sha256(planned).hexdigest()[:16]
