"""VSAN-04 broken: a host answers for a replica from what it once read, not from its disk."""

from __future__ import annotations

from typing import Any

from services.esxi.host import Host
from services.esxi.vsan import objects
from tests.mutations.bugs.planting import plant

_memory: dict[tuple[str, str, int], list[bytes]] = {}


def _remembered(original: Any) -> Any:
    async def whole(host: Host, name: str) -> tuple[list[bytes], int]:
        stamp = objects.replica_here(host, name)[2].stamp
        place = (host.node.name, name, stamp)
        if place not in _memory:
            _memory[place] = (await original(host, name))[0]
        return _memory[place], stamp

    return whole


plant(objects, "_whole", _remembered)
