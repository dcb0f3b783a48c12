"""The Rng port of the simulation: choices and tokens are all derived from the run's seed."""

from __future__ import annotations

import random

from services.runtime.incarnation import Incarnation
from services.runtime.ports import Rng
from services.runtime.seeded import SeededStreams, Tokens


class SimRng(Rng):
    """The Rng port of one life of one node; see ``ports.Rng``.

    Tokens never repeat within a run, not even after a reboot. The same seed gives the same tokens.
    """

    def __init__(self, seed: int, life: Incarnation) -> None:
        self.life = life
        self._streams = SeededStreams(seed, "choice", life.node, life.boot)
        self._tokens = Tokens(seed, "token", life.node, life.boot)

    def reseed(self, seed: int) -> None:
        """Draw everything from another seed from now on, also in streams that callers hold
        already."""
        self._streams.reseed(seed)
        self._tokens.reseed(seed)

    def stream(self, name: str) -> random.Random:
        """The node's stream of choices called ``name``; the same object at each call."""
        self.life.check()
        return self._streams[name]

    def token(self, size: int) -> bytes:
        """``size`` bytes; no decision may depend on them."""
        self.life.check()
        return self._tokens.next(size)
