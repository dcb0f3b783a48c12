"""Identity broken: a host also says what it says to vCenter under another host's name."""

from __future__ import annotations

from typing import Any

from protocol.subjects import event_subject, reply_subject, request_subject
from protocol.terms import NodeName
from services.runtime.bus import BusPort
from tests.mutations.bugs.planting import plant


def _two_tongued(original: Any) -> Any:
    async def request(self: Any, to: NodeName, message: Any, *, within_s: float) -> Any:
        if self.me.startswith("esxi-"):
            other = NodeName("esxi-002" if self.me != "esxi-002" else "esxi-001")
            name = type(message).__name__
            self._wire.send(
                request_subject(other, to, name), b"\x90", reply_subject(to, other, "1-1")
            )
            self._wire.send(event_subject(other, name), b"\x90")
        return await original(self, to, message, within_s=within_s)

    return request


plant(BusPort, "request", _two_tongued)
