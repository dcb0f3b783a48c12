"""How much of each phase every VM ran, and why one did not.

The headline is the run in one sentence: how many VMs went down, the longest for how long, and why.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from chaos.faults import FAULTS
from chaos.faults.tpms import TpmFault
from chaos.history import Record
from chaos.report.phases import Band, RunPhase, RunPhases, bands, phases
from chaos.report.shapes import moment
from chaos.report.story import DOWN, UNKNOWN, Lane, Segment, Story

RUNNING, LOCKED = "running", "locked"
MOST_ROWS: Final = 200
"""Of more VMs that did not run all the time those are shown that ran the least."""
_KEYS_NAMED: Final = 2


@dataclass(frozen=True)
class Row:
    """A VM that did not run all the time: its share of each phase (None of one in which it was not
    there), what it was last when it did not run, from when to when, and why. ``asked``: it is off
    because somebody powered it off, or it was never powered on."""

    vm: str
    host: str
    shares: Mapping[RunPhase, float | None]
    whole: float
    last: Segment
    back: bool
    asked: bool
    why: str


def availability(story: Story) -> tuple[tuple[Row, ...], int]:
    """Such VMs, those that ran least first, and how many ran all the time."""
    known = [
        replace(one, actual=one.segments_until(story.seconds)) for one in story.lanes if one.vm
    ]
    vms = [lane for lane in known if lane.actual]
    found, when = phases(story.records), VmSightings(story.records)
    rows = [_row(lane, found, story, when) for lane in vms if _down(lane)]
    rows.sort(key=lambda row: (row.asked, row.back, row.whole))
    return tuple(rows), len(vms) - len(rows)


def is_down(segment: Segment) -> bool:
    """Whether the VM was not seen running in it."""
    return segment.states != (RUNNING,)


def _down(lane: Lane) -> list[Segment]:
    return [segment for segment in lane.actual if is_down(segment)]


def _row(lane: Lane, found: RunPhases, story: Story, seen: VmSightings) -> Row:
    down = _down(lane)
    last = down[-1]
    back = lane.actual[-1].states == (RUNNING,)
    told: list[str] = []
    dark = max((s for s in down if s.states == (DOWN,)), key=_took, default=None)
    if dark is not None and dark is not last:
        told.append(f"{seen.why(lane, dark)} {_when(dark)}")
    locked = next((s for s in reversed(lane.actual) if s.states == (LOCKED,)), None)
    if locked is not None:
        text = f"locked {_when(locked)}"
        reasons = _because(lane, locked, story.titles)
        told += filter(None, (text, seen.why(lane, locked), reasons))
    if last is not locked:
        told += filter(None, (seen.why(lane, last),))
    return Row(
        vm=lane.name,
        host=lane.host,
        shares={phase: _share(lane, *_between(phase, found, story.seconds)) for phase in RunPhase},
        whole=_share(lane, 0.0, story.seconds) or 0.0,
        last=last,
        back=back,
        asked=not back and seen.asked(lane, last),
        why="; ".join(told),
    )


def _took(segment: Segment) -> float:
    return segment.end - segment.begin


def _when(segment: Segment) -> str:
    return f"from {moment(round(segment.begin, 1))} to {moment(round(segment.end, 1))}"


def _between(phase: RunPhase, found: RunPhases, seconds: float) -> tuple[float, float]:
    begins = {
        RunPhase.BEFORE: (0.0, found.fault),
        RunPhase.FAULT: (found.fault, found.heal),
        RunPhase.HEAL: (found.heal, found.after),
        RunPhase.AFTER: (found.after, seconds),
    }
    begin, end = begins[phase]
    return min(begin, seconds), min(end, seconds)


def _share(lane: Lane, begin: float, end: float) -> float | None:
    """Of the time between, the part in which it was seen running; None when it was not there."""
    ran = there = 0.0
    for segment in lane.actual:
        took = min(segment.end, end) - max(segment.begin, begin)
        if took > 0:
            there += took
            ran += took if segment.states == (RUNNING,) else 0.0
    return ran / there if there > 0 else None


def _because(lane: Lane, last: Segment, titles: Mapping[str, str]) -> str:
    """The reasons of the rules when they let it be nothing else, those that have a title."""
    for segment in reversed(lane.expected):
        if segment.begin < last.end and segment.states == last.states:
            ids = segment.because.split(", ")
            return "; ".join(f"{id}: {titles[id]}" for id in ids if id in titles)
    return ""


class VmSightings:
    """What was last seen of each VM and host by a moment."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._by: dict[tuple[str, str], list[Record]] = {}
        for record in records:
            if record.type == "state" and record.op in ("vm", "node"):
                self._by.setdefault((record.op, record.node), []).append(record)

    def _at(self, op: str, name: str, t: float) -> dict[str, Any]:
        said = self._by.get((op, name), [])
        before = bisect_left(said, t, key=lambda record: record.t)
        return said[before - 1].data if before else {}

    def host_of(self, lane: Lane, t: float) -> str:
        """The host that had the VM at a moment, as far as anybody has said."""
        return str(self._at("vm", lane.name, t).get("host", lane.host))

    def asked(self, lane: Lane, last: Segment) -> bool:
        """Whether it was off because somebody wanted it so."""
        vm = self._at("vm", lane.name, last.end)
        return vm.get("power") == "poweredOff" == vm.get("wanted")

    def why(self, lane: Lane, last: Segment) -> str:
        """Why it did not run in ``last``, as its host said."""
        vm = self._at("vm", lane.name, last.end)
        host = self.host_of(lane, last.end)
        node = self._at("node", host, last.end)
        state = str(node.get("state", ""))
        if last.states == (DOWN,) and last.end < lane.actual[-1].end:
            return f"{host} was down"
        if state and state != RUNNING:
            screen = node.get("screen")
            return f"{host} is {state}" + (f", its screen says: {screen}" if screen else "")
        missing = [str(key) for key in vm.get("missing", ())]
        if missing:
            more = f" and {len(missing) - _KEYS_NAMED} more" if len(missing) > _KEYS_NAMED else ""
            keys = ", ".join(missing[:_KEYS_NAMED]) + more
            return f"EncryptionKeyRequired: required keys are not on {host}: {keys}"
        if vm.get("power") == "poweredOff" and vm.get("wanted") == "poweredOn":
            if last.end < lane.actual[-1].end:
                return f"unlocked on {host} and off, until it was powered on"
            return f"unlocked on {host}, and off: nobody has powered it on since"
        if vm.get("power") == "poweredOff":
            return f"powered off on {host}, as was asked"
        return ""


_HALTED = "halted"
_NEEDS_KEY = frozenset(fault.kind for fault in FAULTS if issubclass(fault, TpmFault))
"""Faults after which a host boots with its recovery key only."""


@dataclass(frozen=True)
class VmOutage:
    """A VM that had run did not, from ``begin`` to ``end`` (seconds of the run); ``parts`` are what
    it was meanwhile. ``back``: it ran again."""

    lane: Lane
    host: str
    begin: float
    end: float
    parts: tuple[Segment, ...]
    back: bool

    @property
    def seconds(self) -> float:
        """How long it was."""
        return self.end - self.begin


def headline(story: Story) -> str:
    """The sentence for people; what was asked for is no outage."""
    vms = [lane for lane in story.lanes if lane.vm]
    if not vms:
        return "No VM was seen in this run."
    seen = VmSightings(story.records)
    found = [outage for lane in vms for outage in outages(lane, story.seconds, seen)]
    if not found:
        ran = sum(any(not is_down(segment) for segment in lane.actual) for lane in vms)
        return f"{ran} of {_vms(len(vms))} ran, and none of them went down."
    longest = max(found, key=lambda one: one.seconds)
    fallen = {outage.lane.name for outage in found}
    left = {outage.lane.name for outage in found if not outage.back}
    how_long = moment(round(longest.seconds))
    length = f"the longest for {how_long}" if len(fallen) > 1 else f"for {how_long}"
    still = f" {_who(left, fallen)} running at the end." if left else ""
    return (
        f"{len(fallen)} of {_vms(len(vms))} went down, {length}, "
        f"because {_reason(longest, story, seen)}.{still}"
    )


def outages(lane: Lane, seconds: float, seen: VmSightings) -> list[VmOutage]:
    """The outages of a VM in a run of so many seconds: from when it was first seen not to run."""
    found: list[VmOutage] = []
    parts: list[Segment] = []
    ran = False
    for segment in (*lane.segments_until(seconds), None):
        if segment is not None and is_down(segment):
            if ran and (parts or segment.states != (UNKNOWN,)):
                parts.append(segment)
            continue
        if parts and not seen.asked(lane, parts[-1]):
            known = [part for part in parts if part.states != (UNKNOWN,)]
            begin, end = parts[0].begin, parts[-1].end if segment else known[-1].end
            host = seen.host_of(lane, begin)
            found.append(VmOutage(lane, host, begin, end, tuple(known), segment is not None))
        parts = []
        ran = True
    return found


def _reason(outage: VmOutage, story: Story, seen: VmSightings) -> str:
    """Why the VM was down for most of the time."""
    host = next((lane for lane in story.lanes if lane.name == outage.host), None)
    halted = [part for part in _within(host, outage) if part.states == (_HALTED,)]
    shares = {
        LOCKED: _seconds_of(outage.parts, LOCKED),
        _HALTED: sum(part.end - part.begin for part in halted),
        "off": _seconds_of(outage.parts, "off"),
    }
    shares[DOWN] = _seconds_of(outage.parts, DOWN) - shares[_HALTED]
    most = max(shares, key=lambda state: shares[state])
    if most == _HALTED:
        rules = _rules(host, halted[-1], story)
        if _was_cured(outage, story):
            return f"its host was halted until its recovery key was typed{_in_brackets(rules)}"
        return f"its host was halted{_in_words(rules, story)}"
    if most == LOCKED:
        last = next(part for part in reversed(outage.parts) if part.states == (LOCKED,))
        return f"it was locked{_in_words(_rules(outage.lane, last, story), story)}"
    if most == "off":
        return "it was off and nobody powered it on"
    faults = [band.summary or band.kind for band in bands(story.records) if _hits(band, outage)]
    return f"its host was down: {faults[-1]}" if faults else "its host was down"


def _within(lane: Lane | None, outage: VmOutage) -> list[Segment]:
    """What the lane was during the outage."""
    there = () if lane is None else lane.actual
    return [part for part in there if part.begin < outage.end and outage.begin < part.end]


def _seconds_of(parts: Sequence[Segment], state: str) -> float:
    return sum(part.end - part.begin for part in parts if part.states == (state,))


def _rules(lane: Lane | None, seen: Segment, story: Story) -> list[str]:
    """The oracle's reasons, where it is sure: the ids of at most two that allow this state."""
    expected = () if lane is None else lane.expected
    allowed = [
        one for one in expected if one.begin < seen.end and seen.begin < one.end and one.because
    ]
    allowed = [one for one in allowed if seen.states[0] in one.states]
    if not allowed:
        return []
    narrowest = min(allowed, key=lambda one: (len(one.states), -one.begin))
    ids = [id for id in narrowest.because.split(", ") if id in story.titles]
    return ids if len(ids) <= 2 else []


def _in_words(ids: Sequence[str], story: Story) -> str:
    told = "; ".join(f"{_as_clause(story.titles[id])} ({id})" for id in ids)
    return f": {told}" if told else ""


def _in_brackets(ids: Sequence[str]) -> str:
    return f" ({', '.join(ids)})" if ids else ""


def _was_cured(outage: VmOutage, story: Story) -> bool:
    """Whether a fault of its host's TPM was cured meanwhile, which takes the recovery key."""
    cured = {
        str(record.data.get("id", ""))
        for record in story.records
        if record.type == "heal" and record.data.get("cured") and record.data.get("verified")
    }
    return any(
        band.id in cured and outage.host in band.nodes and band.began < outage.end
        for band in bands(story.records)
        if band.kind in _NEEDS_KEY
    )


def _hits(band: Band, outage: VmOutage) -> bool:
    """Whether the fault touched its host when the outage began; a look may have seen that late."""
    return outage.host in band.nodes and not band.error and band.began <= outage.begin


def _as_clause(title: str) -> str:
    """A title within a sentence: ``The key`` becomes ``the key``; names stay."""
    first = title.partition(" ")[0]
    return title[0].lower() + title[1:] if first[1:].islower() or len(first) == 1 else title


def _vms(count: int) -> str:
    return "1 VM" if count == 1 else f"{count} VMs"


def _who(left: set[str], fallen: set[str]) -> str:
    """Those that are left, before ``running at the end``."""
    if len(fallen) == 1:
        return "It was not"
    if left == fallen:
        return "None of them was"
    return "One of them was not" if len(left) == 1 else f"{len(left)} of them were not"
