"""VSAN-07 broken: the KEK of vSAN is left out of the persisted store, whatever the release."""

from __future__ import annotations

from typing import Any

from protocol.terms import KeyKind
from services.esxi.host import Host
from tests.mutations.bugs.planting import plant


def _never(original: Any) -> Any:
    def persists(self: Host, kind: KeyKind) -> bool:
        return kind is not KeyKind.VSAN

    return persists


plant(Host, "_persists", _never)
