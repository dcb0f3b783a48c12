"""STD-14 broken at one of two vCenters: it says that a host which has booted got its keys."""

from __future__ import annotations

from typing import Any

from services.vcenter.hosts.delivery import KeyDelivery
from tests.mutations.bugs.planting import plant


def _but_there(original: Any) -> Any:
    async def deliver(self: Any, session: Any, values: Any) -> Any:
        if self._node.name == "vcenter-b" and session.boot > 1:
            return {}
        return await original(self, session, values)

    return deliver


plant(KeyDelivery, "deliver", _but_there)
