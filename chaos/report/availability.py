"""How much of each phase every VM ran, and why one did not: in the words of what was seen.

What cannot be told counts as not running, as for who waits for the VM.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from chaos.history import Record
from chaos.report.axis import moment
from chaos.report.lanes import DOWN, Lane, Segment
from chaos.report.phases import RunPhase, RunPhases, phases
from chaos.report.story import Story

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
