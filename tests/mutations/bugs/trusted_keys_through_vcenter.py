"""TA-06 broken: a host asks for keys only while its vCenter is connected, as if it brought them."""

from __future__ import annotations

from typing import Any

from protocol.errors import KeyProviderUnreachable
from services.esxi.providers.trusted import keys
from tests.mutations.bugs.planting import plant


def _through_vcenter(original: Any) -> Any:
    async def from_any(host: Any, ask: Any, provider: Any) -> Any:
        if not host.uplink.connected:
            raise KeyProviderUnreachable(f"{host.node.name} has no vCenter")
        return await original(host, ask, provider)

    return from_any


plant(keys, "_from_any", _through_vcenter)
