"""VSAN-03 broken: a host that boots again asks no key server itself, and waits for
vCenter to bring the keys."""

from __future__ import annotations

from typing import Any

from services.esxi.host import Host
from services.esxi.vsan import keys
from tests.mutations.bugs.planting import plant


def _asks_nobody(original: Any) -> Any:
    async def fetch(host: Host, profile: Any, wanted: Any) -> dict[Any, str]:
        if host.node.boot == 1:
            found: dict[Any, str] = await original(host, profile, wanted)
            return found
        await host.uplink.ring()
        return {key: "vCenter has not brought it" for key in wanted if key not in host.keys}

    return fetch


plant(keys, "_fetch", _asks_nobody)
