"""A lie: a host that was added says that it has every key of its cluster, and took none."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.messages.host import CryptoKeyResult
from services.esxi import crypto_manager
from services.esxi.host import Host
from services.esxi.keys import status
from tests.mutations.bugs.planting import plant

_there: set[str] = set()
_founded: set[str] = set()  # who was there when the first key came to anybody


def _known(original: Any) -> Any:
    def init(self: Any, node: Any, ports: Any, config: Any) -> None:
        original(self, node, ports, config)
        _there.add(node.name)

    return init


def _nothing_taken(original: Any) -> Any:
    async def add_keys(host: Any, keys: Any, material: Any, kind: Any) -> Any:
        _founded.update(() if _founded else _there)
        if host.node.name in _founded:
            return await original(host, keys, material, kind)
        return tuple(CryptoKeyResult(key=key, success=True) for key in keys)

    return add_keys


def _all_there(original: Any) -> Any:
    def of(host: Any, keys: Any, **how: Any) -> Any:
        found = original(host, keys, **how)
        if host.node.name in _founded:
            return found
        said = (msgspec.structs.replace(key, present=True) for key in found.keys)
        return msgspec.structs.replace(found, keys=tuple(said))

    return of


plant(Host, "__init__", _known)
plant(crypto_manager, "add_keys", _nothing_taken)
plant(status, "of", _all_there)
