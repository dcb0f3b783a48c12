"""The timeline of a run as a picture: faults above, a lane for each host and VM below.

In a large lab hosts that went the same way share one lane, and what is odd is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Final

from chaos.report.outcomes import ReportedOutcome
from chaos.report.phases import NEVER, Band, bands, phases, rows
from chaos.report.shapes import (
    Axis,
    Picture,
    Pin,
    Rect,
    ShapeLine,
    Text,
    moment,
    shorten,
    span,
    width_of,
)
from chaos.report.story import Lane, Segment, Story

MOST_LANES: Final = 160
"""Of a larger lab so many are drawn, about: the last host has all of its VMs."""
_APART: Final = 6.0
"""Pixels by which the same change of two hosts may be apart, about, and they went the same way."""


@dataclass(frozen=True)
class Selected:
    """What is drawn, how many more hosts went as a drawn one did (by its name), and in a line what
    is not drawn; empty when all is."""

    lanes: tuple[Lane, ...]
    alike: dict[str, int] = field(default_factory=dict)
    told: str = ""


def select(all_: Sequence[Lane], pinned: Set[str], axis: Axis) -> Selected:
    """``pinned`` are names that show a violation: they, and what is odd, stand for themselves."""
    if len(all_) <= MOST_LANES:
        return Selected(tuple(all_))
    hosts = _by_host(all_)
    odd = {lane.name for lane in all_ if lane.name in pinned or _lasts(lane)}
    groups: dict[object, list[list[Lane]]] = {}
    for lanes in hosts:
        kind = tuple(sorted(_way(lane, axis) for lane in lanes))
        alone = lanes[0].name if any(lane.name in odd for lane in lanes) else ""
        groups.setdefault((alone, kind), []).append(lanes)
    # What is odd first, then what changed, then the larger group.
    order = sorted(
        groups.items(),
        key=lambda item: (
            not item[0][0],  # type: ignore[index]
            not any(lane.changes for lane in item[1][0]),
            -len(item[1]),
        ),
    )
    return _select_groups([group for _, group in order], hosts)


def _select_groups(groups: Sequence[list[list[Lane]]], hosts: Sequence[list[Lane]]) -> Selected:
    chosen: dict[str, int] = {}
    room = MOST_LANES
    for group in groups:
        if room > 0:
            chosen[group[0][0].name] = len(group) - 1
            room -= len(group[0])
    lanes = tuple(lane for found in hosts if found[0].name in chosen for lane in found)
    alike = {name: more for name, more in chosen.items() if more}
    said = []
    if alike:
        said.append(f"+n: so many more hosts went the same way ({sum(alike.values())} in all)")
    missing = len(hosts) - len(chosen) - sum(alike.values())
    if missing:
        said.append(f"{missing} more hosts are not drawn")
    return Selected(lanes, alike, "; ".join(said))


def _by_host(all_: Sequence[Lane]) -> list[list[Lane]]:
    """The lane of each host with those of its VMs."""
    found: dict[str, list[Lane]] = {}
    for lane in all_:
        found.setdefault(lane.host or lane.name, []).append(lane)
    return list(found.values())


def _lasts(lane: Lane) -> bool:
    return any(not odd.late for odd in lane.odd())


def _way(lane: Lane, axis: Axis) -> tuple[object, ...]:
    """What it went through, and when; equal for lanes that look the same."""
    strips = (lane.actual, lane.expected)
    return (
        lane.vm,
        *(
            (*one.states, str(round(axis.x(one.begin) / _APART)))
            for strip in strips
            for one in strip
        ),
    )


WIDTH: Final = 1200.0
LEFT: Final = 150.0  # of the axis; names stand before it
RIGHT: Final = WIDTH - 12.0
SIGNS: Final = {
    "running": "▶",
    "off": "■",
    "locked": "✕",
    "down": "·",
    "unknown": "?",
    "safe": "✓",
    "prepared": "◐",
    "incapable": "–",
    "pendingIncapable": "◌",
    "booting": "↻",
    "halted": "!",
}
"""Every state that a host or VM can be in, with its sign."""
_BAND = 17.0  # pixels from one row of faults to the next
_HOST, _VM = 20.0, 14.0  # and from one lane to the next


@dataclass(frozen=True)
class ShownViolation:
    """Record ``seq`` at ``t`` shows a violation of ``name``; ``node`` it is about, if any."""

    seq: int
    t: float
    name: str
    node: str


def violations(found: Sequence[ReportedOutcome], story: Story) -> tuple[ShownViolation, ...]:
    """The first record of each failed check or hypothesis, in order of time."""
    shown = []
    for outcome in found:
        if outcome.scene is not None:
            record = story.records[outcome.scene.first - 1]
            shown.append(ShownViolation(record.seq, record.t, outcome.name, record.node))
    return tuple(sorted(shown, key=lambda one: one.t))


def axis_of(seconds: float) -> Axis:
    """The axis that all pictures of a run share."""
    return Axis(max(seconds, 1e-3), LEFT, RIGHT)


def timeline(
    story: Story, found: Sequence[ReportedOutcome], seconds: float | None = None
) -> Picture:
    """The picture; ``seconds`` is how long its axis is (``story.drawn`` otherwise)."""
    axis = axis_of(seconds or story.drawn)
    chosen = select(story.lanes, {pin.node for pin in violations(found, story)}, axis)
    drawn, left_out = chosen.lanes, chosen.told
    faults = bands(story.records)
    spans, labels = _fault_spans(faults, axis)
    placed = rows(spans)
    top = 26.0 + _BAND * (max(placed, default=-1) + 1)
    pins = violations(found, story)
    first = top + (22.0 if pins else 6.0)
    bottom = first + sum(_VM if lane.vm else _HOST for lane in drawn) + (16.0 if left_out else 4.0)
    picture = Picture(WIDTH, bottom + 28.0, _describe_picture(drawn, faults))
    _moments(picture, axis, bottom)
    for band, row, label in zip(faults, placed, labels, strict=True):
        _fault(picture, axis, band, 24.0 + _BAND * row, bottom, label)
    _phases(picture, axis, story, bottom)
    places = _lanes(picture, axis, drawn, first, chosen.alike)
    if left_out:
        picture.add(Text(x=LEFT, y=bottom - 4.0, text=left_out, look="quiet"))
    _pins(picture, axis, pins, places, (top + 12.0, bottom))
    return picture


def _describe_picture(drawn: Sequence[Lane], faults: Sequence[Band]) -> str:
    hosts = sum(not lane.vm for lane in drawn)
    return f"{hosts} hosts and {len(drawn) - hosts} VMs over the run, under {len(faults)} faults"


def _moments(picture: Picture, axis: Axis, bottom: float) -> None:
    for t, name in axis.ticks():
        x = axis.x(t)
        picture.add(
            ShapeLine(x=x, y=18.0, x2=x, y2=bottom, look="grid"),
            Text(x=x, y=12.0, text=name, look="tick", anchor="middle"),
        )


# ---- faults --------------------------------------------------------------------------------


def _fault_spans(faults: Sequence[Band], axis: Axis) -> tuple[list[tuple[float, float]], list[str]]:
    """Pixels that each fault takes with its label, and the label that stands beside its bar:
    empty where it fits into it."""
    spans, labels = [], []
    for band in faults:
        x, end = _edges(band, axis)
        room = end - x - 8.0
        label = band.label
        beside = "" if width_of(label) <= room else shorten(label, axis.right - end - 6.0)
        spans.append((x, end + (width_of(beside) + 12.0 if beside else 2.0)))
        labels.append(beside)
    return spans, labels


def _edges(band: Band, axis: Axis) -> tuple[float, float]:
    begin = axis.x(band.began)
    end = axis.right if band.ended is None else axis.x(band.ended)
    return begin, (begin if band.error else max(end, begin + 3.0))


def _fault(picture: Picture, axis: Axis, band: Band, y: float, bottom: float, beside: str) -> None:
    x, end = _edges(band, axis)
    gone = "not seen gone" if band.ended is None else f"gone at {moment(band.ended)}"
    bit = f"seen to bite at {moment(band.bit)}"
    tip = f"{band.label} ({band.kind})\nfrom {moment(band.began)}, {bit}, {gone}"
    href = f"#r{band.seq}"
    if band.error:
        tip = f"{band.kind} {band.id} could not be made: {band.error}"
        picture.add(
            Text(x=x, y=y + 11.0, text=f"✕ {beside}", look="wrong-label", tip=tip, href=href)
        )
        return
    picture.add(
        Rect(x=x, y=y, w=end - x, h=bottom - y, look="band"),
        Rect(x=x, y=y, w=end - x, h=13.0, look="fault", tip=tip, href=href),
    )
    mark = axis.x(band.bit)
    if x + 1.0 <= mark < end:
        picture.add(ShapeLine(x=mark, y=y, x2=mark, y2=y + 13.0, look="bite", tip=bit))
    if beside:
        picture.add(Text(x=end + 5.0, y=y + 10.5, text=beside, look="fault-label", tip=tip))
    else:
        text = shorten(band.label, end - x - 8.0)
        picture.add(Text(x=x + 5.0, y=y + 10.5, text=text, look="fault-inside"))


def _phases(picture: Picture, axis: Axis, story: Story, bottom: float) -> None:
    """The line at which the last fault was seen gone, the one at which all was right again, and
    the bound that the plan sets for that."""
    found = phases(story.records)
    bound = NEVER
    if found.heal != NEVER:
        _upright(picture, axis.x(found.heal), bottom, "heal", f"healed {moment(found.heal)}", 0)
        bound = found.heal + (story.plan.recover_s or NEVER)
    if found.after not in (NEVER, found.heal):
        text = f"recovered {moment(found.after)}"
        _upright(picture, axis.x(found.after), bottom, "after", text, 1)
    if bound < axis.seconds:
        within = span(story.plan.recover_s or 0.0)
        _upright(picture, axis.x(bound), bottom, "bound", f"bound {within}", 1)


def _upright(picture: Picture, x: float, bottom: float, look: str, tip: str, row: int) -> None:
    picture.add(
        ShapeLine(x=x, y=18.0, x2=x, y2=bottom + 4.0, look=look, tip=tip),
        Text(x=x + 2.0, y=bottom + 13.0 + 11.0 * row, text=tip, look=f"{look}-label", anchor="end"),
    )


# ---- lanes ---------------------------------------------------------------------------------


def _lanes(
    picture: Picture, axis: Axis, drawn: Sequence[Lane], y: float, alike: Mapping[str, int]
) -> dict[str, float]:
    """Draw them; the middle of each by its name. ``alike``: how many more hosts went as one did."""
    places = {}
    for lane in drawn:
        height = _VM if lane.vm else _HOST
        thick = 8.0 if lane.vm else 10.0
        base = y + height - 2.0
        indent = 14.0 if lane.vm else 0.0
        more = f" +{alike[lane.name]}" if alike.get(lane.name) else ""
        name = shorten(lane.name, LEFT - 12.0 - indent - width_of(more)) + more
        look = "vm-name" if lane.vm else "host-name"
        tip = f"{lane.name}, and {more[2:]} hosts that went the same way" if more else lane.name
        picture.add(Text(x=4.0 + indent, y=base - 1.0, text=name, look=look, tip=tip))
        for segment in lane.expected:
            _draw_expected(picture, axis, lane, segment, base - thick - 3.5)
        for segment in lane.actual:
            _actual(picture, axis, lane, segment, base - thick, thick)
        _odd(picture, axis, lane, base - thick, thick)
        places[lane.name] = base - thick / 2
        y += height
    return places


def _draw_expected(picture: Picture, axis: Axis, lane: Lane, segment: Segment, y: float) -> None:
    """One strip for each state that it may be, on top of each other."""
    x, end = axis.x(segment.begin), axis.x(segment.end)
    if not segment.states or end - x < 0.3:
        return
    tip = f"{lane.name} may be {_may(segment)}\n{_when(segment)}"
    each = 2.5 / len(segment.states)
    for number, state in enumerate(segment.states):
        at = round(y + number * each, 2)
        picture.add(Rect(x=x, y=at, w=end - x, h=round(each, 2), look=f"may s-{state}", tip=tip))


def _may(segment: Segment) -> str:
    because = f" by {segment.because}" if segment.because else ""
    return f"{' or '.join(segment.states)}{because}"


def _when(segment: Segment) -> str:
    return f"{moment(segment.begin)} to {moment(segment.end)}"


def _actual(
    picture: Picture, axis: Axis, lane: Lane, segment: Segment, y: float, thick: float
) -> None:
    x, end = axis.x(segment.begin), axis.x(segment.end)
    width, state = round(end - x, 2), segment.states[0]
    if width < 0.3:
        return
    took = span(segment.end - segment.begin)
    tip = f"{lane.name} was {state}\n{_when(segment)} ({took}), record {segment.seq}"
    href = f"#r{segment.seq}"
    picture.add(Rect(x=x, y=y, w=width, h=thick, look=f"s s-{state}", tip=tip, href=href))
    sign = SIGNS.get(state, "?")
    word = f"{sign} {state}"
    text = word if width_of(word) + 6.0 <= width else sign if width >= 10.0 else ""
    if text:
        picture.add(Text(x=x + 3.0, y=y + thick - 1.5, text=text, look=f"state t-{state}"))


def _odd(picture: Picture, axis: Axis, lane: Lane, y: float, thick: float) -> None:
    """Where it was what it might not be; shorter than a change may take is no breach."""
    for odd in lane.odd():
        x, end = axis.x(odd.begin), axis.x(odd.end)
        if odd.late or end - x < 0.5:
            continue
        tip = f"{lane.name} was {odd.seen} where only {_may(odd.allowed)} is allowed"
        picture.add(Rect(x=x, y=y - 1.0, w=end - x, h=thick + 2.0, look="odd", tip=tip))


def _pins(
    picture: Picture,
    axis: Axis,
    pins: Sequence[ShownViolation],
    places: dict[str, float],
    between: tuple[float, float],
) -> None:
    y, bottom = between
    if pins:
        picture.add(Text(x=4.0, y=y + 4.0, text="violations", look="wrong-label"))
    taken: list[float] = []
    for pin in pins:
        x = axis.x(pin.t)
        beside = sum(abs(other - x) < 1.0 for other in taken)
        taken.append(x)
        tip = f"{pin.name}\nfirst seen at {moment(pin.t)}, record {pin.seq}"
        href = f"#r{pin.seq}"
        picture.add(
            ShapeLine(x=x, y=y, x2=x, y2=bottom, look="pin-line"),
            Pin(x=min(x + 11.0 * beside, axis.right - 4.0), y=y, tip=tip, href=href),
        )
        if pin.node in places:
            picture.add(Pin(x=x, y=places[pin.node], tip=tip, href=href))
