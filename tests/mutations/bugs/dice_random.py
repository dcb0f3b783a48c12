"""Determinism broken: a handler takes its decision from a generator of its own, past its port."""

from __future__ import annotations

import random
from typing import Any

from services.esxi.uplink import Uplink
from tests.mutations.bugs.planting import plant


def _fickle(original: Any) -> Any:
    def admit(self: Any, message: Any, peer: Any) -> None:
        original(self, message, peer)
        if random.randrange(256) & 1:
            self._node.background("dice", self._clock.sleep(0.001))

    return admit


plant(Uplink, "admit", _fickle)
