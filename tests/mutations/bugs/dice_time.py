"""Determinism broken: a handler takes its decision from the machine's clock, past its port."""

from __future__ import annotations

import time
from typing import Any

from services.esxi.uplink import Uplink
from tests.mutations.bugs.planting import plant


def _fickle(original: Any) -> Any:
    def admit(self: Any, message: Any, peer: Any) -> None:
        original(self, message, peer)
        if time.time_ns() // 64 & 1:
            self._node.background("dice", self._clock.sleep(0.001))

    return admit


plant(Uplink, "admit", _fickle)
