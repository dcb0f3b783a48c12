"""How far the clock of another machine is ahead: many samples, of which the best ones count. Pure.

A question is sent at one time of our clock and answered at two times of the other's; what it took
on the way is not known to be equal there and back, and half of it is the error of the sample.
"""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import Final, NamedTuple

WINDOW: Final = 32
"""Samples that are looked at: with one a second, a drift of 100 ppm is 2 ms late at most."""
BEST: Final = 4  # one in so many: those that were least long on the way
CONTRADICTIONS: Final = 3  # in a row, until the clock is believed to have jumped


class OffsetSample(NamedTuple):
    """How far ahead, and by how much that may be wrong; seconds."""

    offset_s: float
    error_s: float


def sample_of(sent: float, received: float, answered: float, back: float) -> OffsetSample:
    """From two times of our clock around two of the other's."""
    way_s = (back - sent) - (answered - received)
    return OffsetSample(((received - sent) + (answered - back)) / 2, max(way_s, 0.0) / 2)


class Offset:
    """The offset as it is known now; None before the first sample.

    ``jumps`` counts how often the clock was found elsewhere than its drift would have it.
    """

    def __init__(self) -> None:
        self._samples: deque[OffsetSample] = deque(maxlen=WINDOW)
        self._against: list[OffsetSample] = []
        self.known: OffsetSample | None = None
        self.jumps = 0

    def add(self, sample: OffsetSample) -> None:
        """One more. One that contradicts what is known counts only when others agree with it."""
        known = self.known
        if known is not None and _contradicts(sample, known):
            self._against.append(sample)
            if len(self._against) < CONTRADICTIONS:
                return
            self.jumps += 1
            self._samples.clear()
            self._samples.extend(self._against)
        else:
            self._samples.append(sample)
        self._against.clear()
        self.known = _estimate(list(self._samples))


def _contradicts(one: OffsetSample, other: OffsetSample) -> bool:
    return abs(one.offset_s - other.offset_s) > one.error_s + other.error_s


def _estimate(samples: list[OffsetSample]) -> OffsetSample:
    """The median of the best, with its error: theirs, and how far they lie apart."""
    by_error = sorted(samples, key=lambda sample: sample.error_s)
    best = by_error[: max(1, len(by_error) // BEST)]
    offsets = [sample.offset_s for sample in best]
    apart_s = max(offsets) - min(offsets)
    return OffsetSample(median(offsets), max(sample.error_s for sample in best) + apart_s)
