"""HA-03 broken: VMs that are being started are not counted, so many at once come to one host."""

from __future__ import annotations

from typing import Any

from services.vcenter.placement import Placement
from tests.mutations.bugs.planting import plant


def _late(original: Any) -> Any:
    def running(self: Any, host: Any) -> int:
        return int(self._inventory.index.running_on.count(host))

    return running


plant(Placement, "_running", _late)
