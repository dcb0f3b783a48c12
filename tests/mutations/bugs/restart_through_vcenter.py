"""HA-01 broken: VMs of a failed host are restarted only while vCenter is heard."""

from __future__ import annotations

from typing import Any

from services.esxi.ha.primary import Primary
from tests.mutations.bugs.planting import plant


def _asks(original: Any) -> Any:
    def begin(self: Primary) -> None:
        if self._host.uplink.connected:
            original(self)

    return begin


plant(Primary, "_begin_restarts", _asks)
