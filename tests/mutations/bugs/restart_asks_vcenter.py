"""HA-01 broken: a VM is registered at another host only while vCenter is connected."""

from __future__ import annotations

from typing import Any

from protocol.errors import InvalidState
from services.esxi.vms import registration
from tests.mutations.bugs.planting import plant


def _dependent(original: Any) -> Any:
    async def register(host: Any, name: Any) -> Any:
        if not host.uplink.connected:
            raise InvalidState(f"{host.node.name} cannot ask vCenter about {name}")
        return await original(host, name)

    return register


plant(registration, "register", _dependent)
