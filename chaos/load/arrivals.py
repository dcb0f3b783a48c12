"""Arrivals of a load, all drawn from a seed before the first one is due.

When they are due depends on nothing that a server does: who waits for answers asks less of a slow
server, and measures a load that nobody had.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from chaos.draws import Draws
from chaos.load.profile import Profile

HEAVIEST: Final = 1_000_000


class Spread(StrEnum):
    """How arrivals lie in time: as if they knew nothing of each other, or with equal gaps."""

    POISSON = "poisson"
    EVEN = "even"


class Arrivals(NamedTuple):
    """One place each: seconds after the begin (rising), the number of the operation in
    ``operations``, and who asks, from 0."""

    operations: tuple[str, ...]
    at: array[float]
    operation: array[int]
    who: array[int]

    def __len__(self) -> int:
        return len(self.at)

    def until(self, seconds: float) -> Arrivals:
        """Those before so many seconds."""
        count = bisect_left(self.at, seconds)
        columns = self.at[:count], self.operation[:count], self.who[:count]
        return Arrivals(self.operations, *columns)

    def anew(self, first: int, rest: Arrivals, begin: float, until: float) -> None:
        """From number ``first`` on they are those of ``rest`` from now on, which has the same
        operations: its seconds count from ``begin``, and what lies at ``until`` or later is none.
        """
        more = rest.until(until - begin)
        del self.at[first:], self.operation[first:], self.who[first:]
        self.at.extend(begin + at for at in more.at)
        self.operation.extend(more.operation)
        self.who.extend(more.who)


def read_mix(text: str, known: Sequence[str]) -> dict[str, int]:
    """Weights by operation, of ``get:80,create:20``; ``ValueError`` for one that is not known."""
    made: dict[str, int] = {}
    for part in text.split(","):
        name, colon, weight = part.strip().partition(":")
        if name not in known:
            raise ValueError(f"no operation is {name!r}; there are {', '.join(known)}")
        if name in made:
            raise ValueError(f"{name} is given twice")
        number = int(weight) if weight.isascii() and weight.isdigit() and len(weight) < 9 else 0
        if not colon or not 0 < number <= HEAVIEST:
            raise ValueError(f"{part}: write {name}:WEIGHT, 1 to {HEAVIEST}")
        made[name] = number
    return made


def draw(
    profile: Profile,
    mix: Mapping[str, int],
    *,
    askers: int,
    seed: int,
    spread: Spread,
    name: str = "load",
) -> Arrivals:
    """All arrivals of a load; the same seed, ``name`` and arguments draw the same."""
    gap = _gaps(spread, Draws(seed, f"{name}/arrivals"))
    times = _times(profile, gap, 0.5 if spread is Spread.EVEN else gap())
    operations, heights, total = tuple(mix), list[float](), sum(mix.values())
    for weight in mix.values():
        heights.append((heights[-1] if heights else 0.0) + weight / total)
    which, who = Draws(seed, f"{name}/operations"), Draws(seed, f"{name}/askers")
    chosen = array("B", (_choose(heights, which.unit()) for _ in times))
    return Arrivals(operations, times, chosen, array("H", (who.below(askers) for _ in times)))


def _gaps(spread: Spread, draws: Draws) -> Callable[[], float]:
    """The next gap, in operations that are expected meanwhile: 1 on average."""
    return (lambda: draws.exponential(1.0)) if spread is Spread.POISSON else (lambda: 1.0)


def _times(profile: Profile, gap: Callable[[], float], left: float) -> array[float]:
    """``left``: the gap before the first one; half a one lets 100/s be a hundred each second."""
    times, begin = array("d"), 0.0
    for step in profile:
        count = left
        while count < step.expected:
            times.append(begin + step.time_of_s(count))
            count += gap()
        left = count - step.expected
        begin += step.seconds
    return times


def _choose(heights: Sequence[float], drawn: float) -> int:
    for number, height in enumerate(heights[:-1]):
        if drawn < height:
            return number
    return len(heights) - 1
