"""The seeded generator: everything that a seed fixes is drawn from here, in both modes.

A purpose is a seed and names (``derive(7, "link", "vcenter", "kms")``). Each purpose has its own
stream, so that one more draw for one purpose changes nothing for another: removing one fault of an
experiment does not re-time the others. Nothing here keeps state between calls or reads the
environment.

Streams are ``random.Random`` seeded with an integer; Python guarantees that ``random()`` stays the
same between versions. What must not change with the interpreter uses only that method.
"""

from __future__ import annotations

import hashlib
import random
from typing import Final

_BITS: Final = 128


def derive(seed: int, *names: str | int) -> int:
    """A 128-bit number fixed by the purpose; the lengths of the names are part of it."""
    text = "|".join([str(seed), *(f"{len(str(name))}:{name}" for name in names)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=_BITS // 8).digest(), "big")


def unit(seed: int, *names: str | int) -> float:
    """One number in [0, 1) fixed by the purpose, 53 bits: a fate rather than a stream."""
    return (derive(seed, *names) >> (_BITS - 53)) / (1 << 53)


def stream(seed: int, *names: str | int) -> random.Random:
    """A new generator of choices for the purpose, at its beginning."""
    return random.Random(derive(seed, *names))


class SeededStreams:
    """The streams of one owner (``names``), by name; each continues where it was."""

    def __init__(self, seed: int, *names: str | int) -> None:
        self._seed, self._names = seed, names
        self._found: dict[str, random.Random] = {}

    def reseed(self, seed: int) -> None:
        """Restart all streams from another seed; callers may keep the objects that they hold."""
        self._seed = seed
        for name, found in self._found.items():
            found.seed(derive(seed, *self._names, name))

    def __getitem__(self, name: str) -> random.Random:
        found = self._found.get(name)
        if found is None:
            found = self._found[name] = stream(self._seed, *self._names, name)
        return found


class Tokens:
    """Bytes for a purpose that never repeat: SHAKE-256 over its number and a counter."""

    def __init__(self, seed: int, *names: str | int) -> None:
        self._names = names
        self._drawn = 0
        self.reseed(seed)

    def reseed(self, seed: int) -> None:
        """Continue with the bytes of another seed."""
        self._secret = derive(seed, *self._names).to_bytes(_BITS // 8, "big")

    def next(self, size: int) -> bytes:
        """The next ``size`` bytes."""
        self._drawn += 1
        return hashlib.shake_256(self._secret + self._drawn.to_bytes(8, "big")).digest(size)
