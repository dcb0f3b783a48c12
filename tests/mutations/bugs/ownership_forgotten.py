"""HA-01 broken: a host that comes back keeps, and starts, what was restarted elsewhere."""

from __future__ import annotations

from typing import Any

from services.esxi.ha import ownership
from tests.mutations.bugs.planting import plant


def _mine(original: Any) -> Any:
    def owner_in(record: Any, epoch: str) -> None:
        return None

    return owner_in


plant(ownership, "owner_in", _mine)
