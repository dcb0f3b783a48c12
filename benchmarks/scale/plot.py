"""Growth as a picture: CPU time against hosts, both axes logarithmic, one panel for each cost.

A dashed line shows what a cost would be that grows with the number of hosts, from the smallest
lab on: what lies above it costs more per host in a larger lab.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as Xml

Points = Sequence[tuple[float, float]]  # hosts, CPU seconds

_PANEL_W, _PANEL_H, _TOP, _LEFT, _GAP, _BOTTOM = 360.0, 280.0, 64.0, 72.0, 96.0, 60.0
_STEPS = (1.0, 2.0, 5.0)
_START, _MIDDLE, _END = ({"text-anchor": where} for where in ("start", "middle", "end"))
_INK, _GRID, _CURVE = "#222222", "#dddddd", "#0b6fa4"


def growth(panels: Mapping[str, Points], caption: str) -> bytes:
    """An SVG document with a panel for each title. Every value is above 0."""
    width = _LEFT + len(panels) * (_PANEL_W + _GAP) - _GAP + 24.0
    height = _TOP + _PANEL_H + _BOTTOM
    size = {"width": f"{width:g}", "height": f"{height:g}"}
    root = Xml.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {width:g} {height:g}",
            **size,
            "font-family": "sans-serif",
            "font-size": "12",
            "fill": _INK,
        },
    )
    Xml.SubElement(root, "title").text = caption
    Xml.SubElement(root, "rect", {**size, "fill": "#ffffff"})
    _text(root, _LEFT, 22.0, caption)
    for number, (title, points) in enumerate(panels.items()):
        _Panel(root, _LEFT + number * (_PANEL_W + _GAP), points).draw(title)
    Xml.indent(root)
    document: bytes = Xml.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


@dataclass
class _Axis:
    """From a range of values to a range of the page, by the logarithm."""

    ticks: list[float]
    start: float
    end: float

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float) -> _Axis:
        """An axis whose ends are the ticks around all ``values``."""
        low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        every = [step * 10.0**power for power in range(low, high + 1) for step in _STEPS]
        first = max((t for t in every if t <= min(values)), default=every[0])
        last = min((t for t in every if t >= max(values) and t > first), default=every[-1])
        return cls([t for t in every if first <= t <= last], start, end)

    def place(self, value: float) -> float:
        low, high = math.log(self.ticks[0]), math.log(self.ticks[-1])
        return self.start + (self.end - self.start) * (math.log(value) - low) / (high - low)


class _Panel:
    def __init__(self, root: Xml.Element, left: float, points: Points) -> None:
        self.root, self.left, self.points = root, left, sorted(points)
        first, last = self.points[0], self.points[-1]
        self.straight = [first, (last[0], first[1] * last[0] / first[0])]
        shown = [*self.points, *self.straight]
        self.x = _Axis.over([x for x, _ in shown], left, left + _PANEL_W)
        self.y = _Axis.over([y for _, y in shown], _TOP + _PANEL_H, _TOP)

    def draw(self, title: str) -> None:
        _text(self.root, self.left, _TOP - 14.0, title, {"font-weight": "bold"})
        for tick in self.x.ticks:
            at = self.x.place(tick)
            _line(self.root, at, _TOP, at, _TOP + _PANEL_H)
            _text(self.root, at, _TOP + _PANEL_H + 18.0, f"{tick:g}", _MIDDLE)
        for tick in self.y.ticks:
            at = self.y.place(tick)
            _line(self.root, self.left, at, self.left + _PANEL_W, at)
            _text(self.root, self.left - 8.0, at + 4.0, f"{tick:g}", _END)
        middle, below = self.left + _PANEL_W / 2, _TOP + _PANEL_H + 40.0
        _text(self.root, middle, below, "hosts", _MIDDLE)
        x, y = self.left - 48.0, _TOP + _PANEL_H / 2
        upwards = {"transform": f"rotate(-90 {x:g} {y:g})", **_MIDDLE}
        _text(self.root, x, y, "CPU seconds", upwards)
        self._curve(self.straight, _INK, {"stroke-dasharray": "5 4"})
        self._curve(self.points, _CURVE, {"stroke-width": "2"})
        for x, y in self.points:
            dot = {"cx": f"{self.x.place(x):.1f}", "cy": f"{self.y.place(y):.1f}"}
            made = Xml.SubElement(self.root, "circle", {"r": "3.5", "fill": _CURVE, **dot})
            Xml.SubElement(made, "title").text = f"{x:g} hosts: {y:.3g} s"

    def _curve(self, points: Points, colour: str, style: Mapping[str, str]) -> None:
        places = " ".join(f"{self.x.place(x):.1f},{self.y.place(y):.1f}" for x, y in points)
        looks = {"fill": "none", "stroke": colour, **style}
        Xml.SubElement(self.root, "polyline", {"points": places, **looks})


def _line(root: Xml.Element, x1: float, y1: float, x2: float, y2: float) -> None:
    ends = {"x1": f"{x1:.1f}", "y1": f"{y1:.1f}", "x2": f"{x2:.1f}", "y2": f"{y2:.1f}"}
    Xml.SubElement(root, "line", {"stroke": _GRID, **ends})


def _text(
    root: Xml.Element, x: float, y: float, text: str, style: Mapping[str, str] = _START
) -> None:
    place = {"x": f"{x:.1f}", "y": f"{y:.1f}"}
    Xml.SubElement(root, "text", {**place, **style}).text = text
