"""How busy nodes were, drawn over the same axis as the timeline of their run, and summed up."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from chaos.history import Record
from chaos.report.axis import moment
from chaos.report.plots import draw_faults
from chaos.report.shapes import Picture, ShapeLine, Text
from chaos.report.story import Story
from chaos.report.timeline import LEFT, WIDTH, axis_of

SATURATED: Final = 0.95
"""A node is saturated in a look since whose predecessor so much of its cores worked."""
HOST: Final = "busiest host"
_TOP, _HEIGHT = 8.0, 150.0
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
    axis, bottom = axis_of(story.drawn), _TOP + _HEIGHT
    picture = Picture(WIDTH, bottom + 18.0, told)
    draw_faults(picture, axis, story, bottom)
    for n in range(5):
        y = bottom - _HEIGHT * n / 4
        picture.add(
            ShapeLine(x=LEFT, y=y, x2=axis.right, y2=y, look="grid"),
            Text(x=LEFT - 6.0, y=y + 3.5, text=text(top * n / 4), look="tick-end", anchor="end"),
        )
    for (name, look), node in zip(looks_of(nodes), nodes, strict=True):
        before: tuple[float, float, float] | None = None
        for one in node.samples:
            y = round(bottom - _HEIGHT * min(value(one) / top, 1.0), 2)
            x = axis.x(one.t)
            if before is None or one.t - before[2] > 2.5:  # it was idle meanwhile, or there is none
                before = (axis.x(max(one.t - 1.0, 0.0)), bottom, one.t)
            who = one.node if one.node == name else f"{name} {one.node}"
            tip = f"{who}: {text(value(one))} at {moment(round(one.t, 1))}"
            picture.add(ShapeLine(x=before[0], y=before[1], x2=x, y2=y, look=look, tip=tip))
            before = (x, y, one.t)
    return picture
