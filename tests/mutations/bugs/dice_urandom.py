"""Determinism broken: a handler decides by the system's random bytes, past its port."""

from __future__ import annotations

import os
from typing import Any

from services.esxi.uplink import Uplink
from tests.mutations.bugs.planting import plant


def _fickle(original: Any) -> Any:
    def admit(self: Any, message: Any, peer: Any) -> None:
        original(self, message, peer)
        if os.urandom(1)[0] & 1:
            self._node.background("dice", self._clock.sleep(0.001))

    return admit


plant(Uplink, "admit", _fickle)
