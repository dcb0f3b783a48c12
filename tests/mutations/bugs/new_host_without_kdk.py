"""NKP-15 broken: a host that is added once there are VMs is brought no provider."""

from __future__ import annotations

from typing import Any

from services.vcenter.hosts.delivery import KeyDelivery
from tests.mutations.bugs.planting import plant


def _to_those_of_the_beginning(original: Any) -> Any:
    async def set_providers(self: Any, session: Any, providers: Any) -> None:
        if session.summary.providers or not self._inventory.vms:
            await original(self, session, providers)

    return set_providers


plant(KeyDelivery, "set_providers", _to_those_of_the_beginning)
