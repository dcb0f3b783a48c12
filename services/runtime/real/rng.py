"""The Rng port: choices from the lab's seed, tokens from the operating system."""

from __future__ import annotations

import os
import random

from services.runtime.incarnation import Incarnation


class LabRng:
    """See ``ports.Rng``. The same (seed, node, boot, name) gives the same stream of choices."""

    def __init__(self, seed: int, life: Incarnation) -> None:
        self._seed, self._life = seed, life
        self._streams: dict[str, random.Random] = {}

    def stream(self, name: str) -> random.Random:
        self._life.check()
        found = self._streams.get(name)
        if found is None:
            # Seeding with text hashes it (SHA-512); names hold no separator that could collide.
            purpose = f"{self._seed}|{self._life.node}|{self._life.boot}|{name}"
            found = self._streams[name] = random.Random(purpose)
        return found

    def token(self, size: int) -> bytes:
        self._life.check()
        return os.urandom(size)
