"""How many operations a second are offered, over the time of a load: constant, ramps, steps.

``300/s`` is one rate, ``100/s..400/s`` rises (or falls) evenly over the whole time, and
``100/s:30s,100/s..400/s:1m`` are steps with a time each. A ramp may begin or end at ``0/s``, and a
step may be a pause.
"""

from __future__ import annotations

import math
import re
from typing import Final, NamedTuple

from pydantic_core import PydanticCustomError

from chaos.units import per_second, seconds

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
