"""What a picture is made of: shapes with places in pixels, looks (a class of the style sheet) and
tips. Templates draw them; nothing here knows of SVG."""

from __future__ import annotations

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
