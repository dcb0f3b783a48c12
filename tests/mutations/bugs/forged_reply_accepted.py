"""Identity broken: a reply is believed from whoever sends it."""

from __future__ import annotations

from typing import Any

from services.runtime.rpc.pending import PendingCalls
from tests.mutations.bugs.planting import plant


def _gullible(original: Any) -> Any:
    def arrived(self: Any, token: str, responder: Any, payload: bytes) -> bool:
        return bool(original(self, token, self.asked(token) or responder, payload))

    return arrived


plant(PendingCalls, "arrived", _gullible)
