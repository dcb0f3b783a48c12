"""The arrivals of a load: how many operations a second are offered over its time (constant, ramps,
steps), and when each one is due, all drawn from a seed before the first.
"""

from __future__ import annotations

import math
import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from pydantic_core import PydanticCustomError

from chaos.draws import Draws
from chaos.fields import per_second, seconds

FASTEST: Final = 5_000.0
"""Operations a second that one generator is asked for: beyond it a Python process is the load."""
MOST_ARRIVALS: Final = 1_000_000
"""Of one load, on average over seeds: all of them are drawn before the first, and kept."""
FEWEST: Final = 1.0
"""On average over seeds: a load of less is nothing to measure."""
LONGEST_S: Final = 24 * 3600.0
_TOO_FAST: Final = f"one generator offers at most {FASTEST:g}/s; run several beside each other"
_NOTHING: Final = re.compile(r"\s*0+(\.0+)?\s*/\s*(s|m|h)\s*")


class LoadStep(NamedTuple):
    """A part of a load: ``seconds`` in which the rate goes evenly from ``begin`` to ``end``."""

    begin: float
    end: float
    seconds: float

    @property
    def expected(self) -> float:
        """How many operations fall in it on average."""
        return (self.begin + self.end) / 2 * self.seconds

    def time_of_s(self, count: float) -> float:
        """Seconds from the begin of the step after which ``count`` are expected, which are fewer
        than ``expected``."""
        if not count:
            return 0.0
        slope = (self.end - self.begin) / self.seconds
        root = math.sqrt(max(self.begin**2 + 2 * slope * count, 0.0))
        return min(2 * count / (self.begin + root), self.seconds)


Profile = tuple[LoadStep, ...]


def read_profile(rate: str, duration: str, warmup: float = 0.0) -> Profile:
    """What a rate and a duration say together; ``ValueError`` for what cannot be offered after a
    ``warmup`` of so many seconds, which is no part of it."""
    parts = [part.strip() for part in rate.split(",")]
    timed = [part.partition(":") for part in parts]
    if len(parts) == 1 and not timed[0][1]:
        if not duration:
            raise ValueError(f"{rate}: for how long? give a duration, or a time to each step")
        made: Profile = (_step(rate, parts[0], duration),)
    else:
        if duration:
            raise ValueError(f"duration {duration}: the steps of {rate} have a time each")
        made = tuple(_step(rate, words, time) for words, _, time in timed)
    _check_sizes(rate, made, warmup)
    return made


def read_rate(text: str) -> float:
    """Operations a second of a load that runs, 0 for a pause; ``ValueError`` for what is none."""
    if ".." in text or ":" in text or "," in text:
        raise ValueError(
            f"{text}: a load that runs is given one rate, such as 400/s; 0/s is a pause"
        )
    try:
        rate = _rate(text)
    except PydanticCustomError as error:
        raise ValueError(f"{text}: {error.message()}") from None
    if rate > FASTEST:
        raise ValueError(f"{text}: {_TOO_FAST}")
    return rate


def _check_sizes(rate: str, made: Profile, warmup: float) -> None:
    counted, whole = sum(step.expected for step in made), with_warmup(made, warmup)
    total, expected = length(whole), sum(step.expected for step in whole)
    with_it = ", its warm-up with it" if warmup else ""
    if not counted:
        raise ValueError(f"{rate}: nothing is offered: some rate of it lies above 0")
    if counted < FEWEST:
        raise ValueError(
            f"{rate}: about {counted:.2g} operations: give it longer, or a higher rate"
        )
    if total > LONGEST_S:
        raise ValueError(f"{rate}: {total:g} s{with_it}; at most {LONGEST_S:g} s are offered")
    if expected > MOST_ARRIVALS:
        text = f"about {expected:.0f} operations{with_it}; at most {MOST_ARRIVALS} are drawn"
        raise ValueError(f"{rate}: {text}")


def length(profile: Profile) -> float:
    """Its seconds."""
    return math.fsum(step.seconds for step in profile)


def with_warmup(profile: Profile, warmup: float) -> Profile:
    """The profile after so many seconds of its first rate."""
    first = profile[0].begin
    return (LoadStep(first, first, warmup), *profile) if warmup else profile


def _step(rate: str, words: str, time: str) -> LoadStep:
    begin, dots, end = words.partition("..")
    try:
        first = _rate(begin)
        last = _rate(end) if dots else first
    except PydanticCustomError as error:
        raise ValueError(f"{rate}: {words or 'a step'}: {error.message()}") from None
    where = f"duration {time}" if words == rate.strip() else f"{rate}: {words}:{time}"
    try:
        long = seconds(time.strip())
    except PydanticCustomError as error:
        raise ValueError(f"{where}: {error.message()}") from None
    if max(first, last) > FASTEST:
        raise ValueError(f"{rate}: {_TOO_FAST}")
    if not long:
        raise ValueError(f"{where}: a step lasts longer than 0s")
    return LoadStep(first, last, long)


def _rate(text: str) -> float:
    return 0.0 if _NOTHING.fullmatch(text) else per_second(text)


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
