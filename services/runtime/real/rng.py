"""The Rng port of real processes: choices from the lab's seed, tokens from the operating system."""

from __future__ import annotations

import os
import random

from services.runtime.incarnation import Incarnation
from services.runtime.ports import Rng
from services.runtime.seeded import SeededStreams


class LabRng(Rng):
    """See ``ports.Rng``. The same (seed, node, boot, name) gives the same stream of choices."""

    def __init__(self, seed: int, life: Incarnation) -> None:
        self._life = life
        self._streams = SeededStreams(seed, "choice", life.node, life.boot)

    def stream(self, name: str) -> random.Random:
        """The node's stream of choices called ``name``; the same object at each call."""
        self._life.check()
        return self._streams[name]

    def token(self, size: int) -> bytes:
        """``size`` bytes of the operating system's entropy."""
        self._life.check()
        return os.urandom(size)
