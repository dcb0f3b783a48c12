"""Seeded draws for plans: named streams that stay the same on every Python version.

Streams are split by name (see ``services.runtime.seeded``), so removing one part of an
experiment does not re-time the others, which shrinking depends on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from services.runtime.seeded import Tokens, stream

T = TypeVar("T")


class Draws:
    """One named stream of choices; everything is made from ``unit``."""

    def __init__(self, seed: int, name: str) -> None:
        self._stream = stream(seed, "draws", name)
        self._tokens = Tokens(seed, "draws", name)

    def unit(self) -> float:
        """A number from 0 up to, but not including, 1; each of 2**53 equally likely."""
        return self._stream.random()

    def below(self, limit: int) -> int:
        """A whole number from 0 up to, but not including, ``limit``; each equally likely."""
        return int(self.unit() * limit)

    def exponential(self, mean: float) -> float:
        """A gap, ``mean`` on average, between arrivals that know nothing of each other."""
        return -math.log(1.0 - self.unit()) * mean

    def pick(self, items: Sequence[T], count: int) -> tuple[T, ...]:
        """``count`` different items, in the order of ``items``."""
        places = list(range(len(items)))
        chosen: list[int] = []
        for _ in range(min(count, len(places))):
            chosen.append(places.pop(self.below(len(places))))
        return tuple(items[place] for place in sorted(chosen))

    def token(self, size: int) -> bytes:
        """``size`` bytes for markers and nonces of probes; services never know the seed."""
        return self._tokens.next(size)
