"""KP-08 broken: key persistence covers vSAN in every release."""

from __future__ import annotations

from typing import Any

from protocol.terms import KeyKind
from services.esxi.host import Host
from tests.mutations.bugs.planting import plant


def _always(original: Any) -> Any:
    def persists(self: Host, kind: KeyKind) -> bool:
        return True if kind is KeyKind.VSAN else bool(original(self, kind))

    return persists


plant(Host, "_persists", _always)
