"""VSAN-04 broken: a host answers for a replica from what it once read, not from its disk."""

from __future__ import annotations

from typing import Any

from services.esxi.host import Host
from services.esxi.vsan import components
from tests.mutations.bugs.planting import plant

_memory: dict[tuple[str, str], list[bytes]] = {}


def _remembered(original: Any) -> Any:
    async def contents(host: Host, name: str) -> list[bytes]:
        components._replica(host, name)
        place = (host.node.name, name)
        if place not in _memory:
            _memory[place] = await original(host, name)
        return _memory[place]

    return contents


def _written(original: Any) -> Any:
    async def write(host: Host, name: str, marker: bytes) -> bytes:
        _memory.pop((host.node.name, name), None)
        digest: bytes = await original(host, name, marker)
        return digest

    return write


plant(components, "_contents", _remembered)
plant(components, "write", _written)
