"""What a benchmark is, and what it gives.

One ``run`` makes everything it needs, measures, and takes everything down again. ``quick`` does
the same with less of everything: it shows that a benchmark works, its figures mean little.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

Report = Callable[[str], None]  # one line of progress


class Sense(StrEnum):
    """On which side of the bar the good figures are."""

    BELOW = "<"
    AT_MOST = "<="
    AT_LEAST = ">="


@dataclass(frozen=True)
class Bar:
    """What a figure has to keep, in the benchmark's unit."""

    sense: Sense
    limit: float

    def met(self, value: float) -> bool:
        match self.sense:
            case Sense.BELOW:
                return value < self.limit
            case Sense.AT_MOST:
                return value <= self.limit
            case Sense.AT_LEAST:
                return value >= self.limit


@dataclass(frozen=True)
class Figures:
    """One run: the figure that has a bar, and others that explain it (name with its unit)."""

    value: float
    details: Mapping[str, float] = field(default_factory=dict)


class CannotRun(Exception):
    """The benchmark has no figure: the text says what is missing or went wrong."""


class NotMeasured(Exception):
    """The benchmark is measured in another way, which the text names."""


class Benchmark(ABC):
    """``measures`` says in one line what is between the two looks at the clock; ``repeats`` how
    often it is run unless somebody says otherwise; ``also`` has bars of details, by their names."""

    name: ClassVar[str]
    measures: ClassVar[str]
    unit: ClassVar[str]
    bar: ClassVar[Bar]
    also: ClassVar[Mapping[str, Bar]] = {}
    repeats: ClassVar[int] = 3

    def __init__(self, *, quick: bool = False) -> None:
        self.quick = quick

    @classmethod
    def met_by(cls, figures: Figures) -> bool:
        """Whether the figure and each detail that has a bar keep theirs; what was not measured
        does not."""
        found = figures.details
        others = all(name in found and bar.met(found[name]) for name, bar in cls.also.items())
        return cls.bar.met(figures.value) and others

    @abstractmethod
    async def run(self, report: Report) -> Figures:
        """One complete run; raises ``CannotRun`` or ``NotMeasured``, or what went wrong."""
