"""Randomness of the simulation: everything is derived from the run's seed by hashing.

A stream of its own for each purpose, so that one draw more in one place moves nothing elsewhere.
"""

from __future__ import annotations

import hashlib
import random

from services.runtime.incarnation import Incarnation


def derive(seed: int, *names: str | int) -> int:
    """A 128-bit seed for the purpose ``names`` of the run ``seed``."""
    text = "|".join([str(seed), *(f"{len(str(name))}:{name}" for name in names)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big")


def stream(seed: int, *names: str | int) -> random.Random:
    """A generator of its own for the purpose ``names``."""
    return random.Random(derive(seed, *names))


class SimRng:
    """The Rng port of one life of one node; see ``ports.Rng``.

    Tokens come from SHAKE-256 over a secret of (seed, node, boot) and a counter: they never
    repeat within a run, also not after a reboot, and the same seed gives the same again.
    """

    def __init__(self, seed: int, life: Incarnation) -> None:
        self._seed = seed
        self._life = life
        self._streams: dict[str, random.Random] = {}
        self._secret = derive(seed, "token", life.node, life.boot).to_bytes(16, "big")
        self._drawn = 0

    def stream(self, name: str) -> random.Random:
        """The node's stream of choices called ``name``; the same object at each call."""
        self._life.check()
        found = self._streams.get(name)
        if found is None:
            found = stream(self._seed, "choice", self._life.node, self._life.boot, name)
            self._streams[name] = found
        return found

    def token(self, size: int) -> bytes:
        """``size`` bytes; no decision may depend on them."""
        self._life.check()
        self._drawn += 1
        block = self._secret + self._drawn.to_bytes(8, "big")
        return hashlib.shake_256(block).digest(size)
