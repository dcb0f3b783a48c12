"""What a picture is made of: shapes with places in pixels, looks (a class of the style sheet) and
text; and the axis, which turns seconds of a run into pixels with round moments beside them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

CHARACTER: Final = 6.1  # pixels that a letter of a label takes, on average


@dataclass(frozen=True, kw_only=True)
class Rect:
    """A box; ``href`` is where a click on it leads."""

    x: float
    y: float
    w: float
    h: float
    look: str
    tip: str = ""
    href: str = ""
    kind: str = "rect"


@dataclass(frozen=True, kw_only=True)
class ShapeLine:
    """A line between two points."""

    x: float
    y: float
    x2: float
    y2: float
    look: str
    tip: str = ""
    href: str = ""
    kind: str = "line"


@dataclass(frozen=True, kw_only=True)
class Text:
    """A text that stands on (``x``, ``y``); ``anchor`` is start, middle or end."""

    x: float
    y: float
    text: str
    look: str = "label"
    anchor: str = "start"
    tip: str = ""
    href: str = ""
    kind: str = "text"


@dataclass(frozen=True, kw_only=True)
class Dot:
    """A circle of radius ``r``."""

    x: float
    y: float
    r: float
    look: str
    tip: str = ""
    href: str = ""
    kind: str = "dot"


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A diamond with its centre at (``x``, ``y``)."""

    x: float
    y: float
    look: str = "pin"
    tip: str = ""
    href: str = ""
    kind: str = "pin"


Shape = Rect | ShapeLine | Text | Dot | Pin


@dataclass
class Picture:
    """Shapes in the order in which they are drawn; ``told`` says in a sentence what is seen."""

    width: float
    height: float
    told: str
    shapes: list[Shape] = field(default_factory=list)

    def add(self, *shapes: Shape) -> None:
        """Draw these over what is there."""
        self.shapes += shapes


def width_of(text: str) -> float:
    """Pixels that a label takes, about."""
    return len(text) * CHARACTER


def shorten(text: str, width: float) -> str:
    """As much of a label as fits; empty when nothing worth reading does."""
    room = int(width / CHARACTER)
    if len(text) <= room:
        return text
    return text[: room - 1] + "…" if room >= 4 else ""


_STEPS: Final = (
    0.1,
    0.2,
    0.5,
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    21600,
)


@dataclass(frozen=True)
class Axis:
    """``seconds`` (more than 0) over the pixels from ``left`` to ``right``."""

    seconds: float
    left: float
    right: float

    def x(self, t: float) -> float:
        """Where a moment is drawn; what lies outside is drawn at the edge."""
        part = min(max(t, 0.0), self.seconds) / self.seconds
        return round(self.left + part * (self.right - self.left), 2)

    def ticks(self, most: int = 12) -> tuple[tuple[float, str], ...]:
        """At most so many round moments and their names, from 0 on."""
        step = next((s for s in _STEPS if self.seconds / s <= most - 1), 0.0)
        if not step:
            step = 86400.0 * math.ceil(self.seconds / 86400.0 / (most - 1))
        count = math.floor(self.seconds / step + 1e-9)
        return tuple((n * step, moment(n * step)) for n in range(count + 1))


def moment(t: float) -> str:
    """A moment of a run for people: ``0.4 s``, ``35 s``, ``2:05``, ``1:00:00``."""
    if t < 60 and t != int(t):
        return f"{t:.3g} s"
    minutes, seconds = divmod(int(t), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{seconds:02d}"
    return f"{minutes}:{seconds:02d}" if minutes else f"{seconds} s"


def span(seconds: float) -> str:
    """How long something took: three digits and a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}" if seconds < 1000 * size else f"{seconds:.0f} s"
    return f"{seconds * 1e6:.3g} µs"
