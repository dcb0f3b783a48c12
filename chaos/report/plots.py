"""Operations, hypotheses and the work of nodes, drawn over the same axis as the timeline of their
run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from chaos.history import Record
from chaos.report.latency import OperationSample, samples
from chaos.report.phases import bands
from chaos.report.shapes import Axis, Dot, Picture, Rect, ShapeLine, Text, moment, shorten, span
from chaos.report.story import Story
from chaos.report.timeline import LEFT, WIDTH, axis_of

MOST_DOTS: Final = 3000
"""Of more operations the slowest of each pixel is drawn, and each that did not end ok."""
_TOP, _HEIGHT = 8.0, 150.0
_ROW = 15.0
_FLOOR_S, _CEILING_S = 1e-3, 1.0  # what the scale has at least


def latency_plot(story: Story) -> Picture | None:
    """How long each operation took, on a scale of powers of ten; None when there was none.

    A dot is one that ended ok, a ring one whose end is not known, a cross one that failed.
    """
    taken = [sample for sample in samples(story.records) if sample.seconds is not None]
    if not taken:
        return None
    axis = axis_of(story.drawn)
    slowest = max(sample.seconds or 0.0 for sample in taken)
    decades = max(math.ceil(math.log10(max(slowest, _CEILING_S) / _FLOOR_S) - 1e-9), 1)
    picture = Picture(WIDTH, _TOP + _HEIGHT + 18.0, f"{len(taken)} operations by when they began")
    draw_faults(picture, axis, story, _TOP + _HEIGHT)
    for n in range(decades + 1):
        y = _TOP + _HEIGHT * (1 - n / decades)
        name = span(_FLOOR_S * 10**n)
        picture.add(
            ShapeLine(x=LEFT, y=y, x2=axis.right, y2=y, look="grid"),
            Text(
                x=LEFT - 6.0,
                y=y + 3.5,
                text=f"≤ {name}" if n == 0 else name,
                look="tick-end",
                anchor="end",
            ),
        )
    ops = sorted({sample.op for sample in taken})
    for sample in _thin_out(taken, axis):
        seconds = max(sample.seconds or 0.0, _FLOOR_S)
        part = math.log10(seconds / _FLOOR_S) / decades
        y = round(_TOP + _HEIGHT * (1 - part), 2)
        _dot(picture, axis.x(sample.t), y, sample, ops.index(sample.op))
    return picture


def _dot(picture: Picture, x: float, y: float, sample: OperationSample, number: int) -> None:
    tip = f"{sample.op} {sample.node}\n{sample.end} after {span(sample.seconds or 0.0)}"
    tip += f", begun at {moment(sample.t)}"
    href = f"#r{sample.seq}"
    if sample.end == "fail":
        picture.add(
            Text(x=x, y=y + 3.5, text="×", look="cross", anchor="middle", tip=tip, href=href)
        )
        return
    look = f"op-{number % 6}" if sample.end == "ok" else "ring"
    picture.add(Dot(x=x, y=y, r=2.4, look=look, tip=tip, href=href))


def _thin_out(taken: Sequence[OperationSample], axis: Axis) -> list[OperationSample]:
    if len(taken) <= MOST_DOTS:
        return list(taken)
    kept: dict[tuple[str, int], OperationSample] = {}
    for sample in taken:
        key = (sample.op, int(axis.x(sample.t)))
        if key not in kept or (sample.seconds or 0.0) > (kept[key].seconds or 0.0):
            kept[key] = sample
    slow = set(map(id, kept.values()))
    return [sample for sample in taken if id(sample) in slow or sample.end != "ok"]


def draw_faults(picture: Picture, axis: Axis, story: Story, bottom: float) -> None:
    """Faults as bands, and round moments below."""
    for band in bands(story.records):
        if not band.error:
            end = axis.right if band.ended is None else axis.x(band.ended)
            x = axis.x(band.began)
            picture.add(Rect(x=x, y=_TOP, w=round(end - x, 2), h=bottom - _TOP, look="band"))
    for t, name in axis.ticks():
        x = axis.x(t)
        picture.add(
            ShapeLine(x=x, y=_TOP, x2=x, y2=bottom, look="grid"),
            Text(x=x, y=bottom + 13.0, text=name, look="tick", anchor="middle"),
        )


def hypotheses_plot(story: Story) -> Picture | None:
    """A row for each probe and phase: a dot where it held, a cross where it did not; None when
    nothing was measured."""
    found: dict[str, list[Record]] = {}
    for record in story.records:
        if record.type == "probe":
            found.setdefault(f"{record.data.get('when', '')} {record.op}", []).append(record)
    if not found:
        return None
    axis = axis_of(story.drawn)
    bottom = _TOP + _ROW * len(found)
    picture = Picture(WIDTH, bottom + 18.0, "measurements of the hypotheses over the run")
    draw_faults(picture, axis, story, bottom)
    for row, (name, records) in enumerate(found.items()):
        y = _TOP + _ROW * (row + 0.5)
        picture.add(
            Text(x=4.0, y=y + 3.5, text=shorten(name, LEFT - 12.0), look="vm-name", tip=name)
        )
        for record in records:
            _draw_measurement(picture, axis.x(record.t), y, name, record)
    return picture


def _draw_measurement(picture: Picture, x: float, y: float, name: str, record: Record) -> None:
    data, href = record.data, f"#r{record.seq}"
    tip = f"{name} at {moment(record.t)}: {data.get('value')}\n{data.get('detail', '')}"
    if data.get("holds"):
        picture.add(Dot(x=x, y=y, r=2.6, look="holds", tip=tip, href=href))
    else:
        picture.add(
            Text(x=x, y=y + 4.0, text="×", look="cross", anchor="middle", tip=tip, href=href)
        )


SATURATED: Final = 0.95
"""A node is saturated in a look since whose predecessor so much of its cores worked."""
HOST: Final = "busiest host"
_WORK_TOP, _WORK_HEIGHT = 8.0, 150.0
_LOOKS: Final = 6


@dataclass(frozen=True, kw_only=True)
class WorkSample:
    """One look: the share of a node's cores that worked since the look before, and the requests
    that wait for one. ``node``: its name; for the busiest host its name at that look."""

    t: float
    share: float
    waiting: int
    node: str


@dataclass(frozen=True, kw_only=True)
class NodeWork:
    """The work of one node over a run. Seconds; ``saturated_at`` None: it never was."""

    name: str
    samples: tuple[WorkSample, ...]

    @property
    def peak(self) -> float:
        """The largest share of its cores that worked between two looks."""
        return max((one.share for one in self.samples), default=0.0)

    @property
    def most_waiting(self) -> int:
        """The longest queue that was seen."""
        return max((one.waiting for one in self.samples), default=0)

    @property
    def saturated_at(self) -> float | None:
        """When it was seen saturated first."""
        return next((one.t for one in self.samples if one.share >= SATURATED), None)

    @property
    def saturated_looks(self) -> int:
        """At how many looks, a second apart, it was saturated."""
        return sum(one.share >= SATURATED for one in self.samples)


def work_of(records: Sequence[Record]) -> tuple[NodeWork, ...]:
    """The work of each node, and of the busiest host of each look; empty without service times."""
    found: dict[str, list[WorkSample]] = {}
    for record in records:
        if record.type != "state" or record.op != "work":
            continue
        for node, (share, waiting) in record.data["nodes"].items():
            found.setdefault(node, []).append(
                WorkSample(t=record.t, share=share, waiting=waiting, node=node)
            )
        share, waiting, host = record.data["host"]
        if host:
            found.setdefault(HOST, []).append(
                WorkSample(t=record.t, share=share, waiting=waiting, node=host)
            )
    return tuple(NodeWork(name=name, samples=tuple(found[name])) for name in sorted(found))


def first_saturated(nodes: Sequence[NodeWork]) -> NodeWork | None:
    """The node that is saturated first; of several at one look the one that stays it longest."""
    there = [node for node in nodes if node.saturated_at is not None]
    return min(there, key=lambda one: (one.saturated_at, -one.saturated_looks), default=None)


def work_plots(story: Story) -> tuple[Picture, Picture] | None:
    """The share of their cores that worked, and the requests that waited; None without any."""
    nodes = work_of(story.records)
    if not nodes:
        return None
    shares = _plot(
        story, nodes, "share of cores that worked, by node", lambda one: one.share, 1.0, _percent
    )
    most = max(1, *(node.most_waiting for node in nodes))
    top = 10.0 ** math.ceil(math.log10(most))
    top = next(one for one in (top / 5, top / 2, top) if one >= most)
    queues = _plot(
        story, nodes, "requests that wait for a core", lambda one: float(one.waiting), top, _count
    )
    return shares, queues


def looks_of(nodes: Sequence[NodeWork]) -> list[tuple[str, str]]:
    """Name and look of the line of each node."""
    return [(node.name, f"line-{n % _LOOKS}") for n, node in enumerate(nodes)]


def _percent(value: float) -> str:
    return f"{value:.0%}"


def _count(value: float) -> str:
    return f"{value:g}"


def _plot(
    story: Story,
    nodes: Sequence[NodeWork],
    told: str,
    value: Callable[[WorkSample], float],
    top: float,
    text: Callable[[float], str],
) -> Picture:
    axis, bottom = axis_of(story.drawn), _WORK_TOP + _WORK_HEIGHT
    picture = Picture(WIDTH, bottom + 18.0, told)
    draw_faults(picture, axis, story, bottom)
    for n in range(5):
        y = bottom - _WORK_HEIGHT * n / 4
        picture.add(
            ShapeLine(x=LEFT, y=y, x2=axis.right, y2=y, look="grid"),
            Text(x=LEFT - 6.0, y=y + 3.5, text=text(top * n / 4), look="tick-end", anchor="end"),
        )
    for (name, look), node in zip(looks_of(nodes), nodes, strict=True):
        before: tuple[float, float, float] | None = None
        for one in node.samples:
            y = round(bottom - _WORK_HEIGHT * min(value(one) / top, 1.0), 2)
            x = axis.x(one.t)
            if before is None or one.t - before[2] > 2.5:  # it was idle meanwhile, or there is none
                before = (axis.x(max(one.t - 1.0, 0.0)), bottom, one.t)
            who = one.node if one.node == name else f"{name} {one.node}"
            tip = f"{who}: {text(value(one))} at {moment(round(one.t, 1))}"
            picture.add(ShapeLine(x=before[0], y=before[1], x2=x, y2=y, look=look, tip=tip))
            before = (x, y, one.t)
    return picture
