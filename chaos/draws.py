"""Seeded draws for plans: named streams that stay the same on every Python version.

A stream is SHA-256 in counter mode over (seed, name). Streams are split by name, so removing
one part of an experiment does not re-time the others, which shrinking depends on.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Draws:
    """One named stream of choices."""

    def __init__(self, seed: int, name: str) -> None:
        self._key = f"{seed}/{name}".encode()
        self._count = 0

    def _next(self) -> int:
        block = hashlib.sha256(self._key + self._count.to_bytes(8, "big")).digest()
        self._count += 1
        return int.from_bytes(block[:8], "big") >> 11

    def unit(self) -> float:
        """Uniform in [0, 1), 53 bits."""
        return self._next() / (1 << 53)

    def below(self, limit: int) -> int:
        """Uniform in 0 .. limit-1."""
        return int(self.unit() * limit)

    def exponential(self, mean: float) -> float:
        """Exponential with this mean: gaps of arrivals that know nothing of each other."""
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
        out = b""
        while len(out) < size:
            out += hashlib.sha256(b"token" + self._key + self._count.to_bytes(8, "big")).digest()
            self._count += 1
        return out[:size]
