"""KPS-02 broken: a key that a Key Provider Service gave one host is brought to all hosts."""

from __future__ import annotations

from typing import Any

from services.esxi.host import Host
from services.esxi.providers.trusted import keys
from tests.mutations.bugs.planting import plant

_hosts: dict[str, Any] = {}


def _known(original: Any) -> Any:
    def __init__(self: Any, node: Any, ports: Any, config: Any) -> None:
        original(self, node, ports, config)
        _hosts[node.name] = self

    return __init__


def _pushing(original: Any) -> Any:
    async def keep(host: Any, entry: Any) -> None:
        await original(host, entry)
        for other in _hosts.values():
            other.keys.add(entry)

    return keep


plant(Host, "__init__", _known)
plant(keys, "keep", _pushing)
