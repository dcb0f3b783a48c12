"""Identity broken: a reply is believed from whoever sends it."""

from __future__ import annotations

import dataclasses
from typing import Any

from services.runtime.bus import BusPort
from tests.mutations.bugs.planting import plant


def _gullible(original: Any) -> Any:
    def on_reply(self: Any, parsed: Any, payload: bytes) -> None:
        pending = self._pending.get(parsed.rest)
        if pending is not None:
            parsed = dataclasses.replace(parsed, src=pending.to)
        original(self, parsed, payload)

    return on_reply


plant(BusPort, "_on_reply", _gullible)
