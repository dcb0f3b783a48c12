"""HA-03 broken: DRS starts VMs on hosts in maintenance mode, and they refuse."""

from __future__ import annotations

from typing import Any

from services.vcenter import placement
from tests.mutations.bugs.planting import plant


def _blind(original: Any) -> Any:
    def in_maintenance_mode(session: Any) -> bool:
        return False

    return in_maintenance_mode


plant(placement, "_in_maintenance_mode", _blind)
