"""A run in one sentence: how many VMs went down, the longest for how long, and why.

What happened is what was seen; why, for the longest outage, is the oracle's reason where the rules
let the VM or its host be nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chaos.faults import FAULTS
from chaos.faults.tpms import TpmFault
from chaos.report.availability import LOCKED, VmSightings, is_down
from chaos.report.axis import moment
from chaos.report.bands import Band, bands
from chaos.report.lanes import DOWN, UNKNOWN, Lane, Segment
from chaos.report.story import Story

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
