"""A lie: a host that was added says that it has every key of its cluster, and took none."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.messages.host import CryptoKeyResult
from services.esxi import crypto_manager
from tests.mutations.bugs.planting import plant

_NEW = "esxi-002"  # the first host that is added to a lab of one


def _nothing_taken(original: Any) -> Any:
    async def add_keys(host: Any, keys: Any, material: Any, kind: Any) -> Any:
        if host.node.name != _NEW:
            return await original(host, keys, material, kind)
        return tuple(CryptoKeyResult(key=key, success=True) for key in keys)

    return add_keys


def _all_there(original: Any) -> Any:
    def key_status(host: Any, keys: Any) -> Any:
        found = original(host, keys)
        if host.node.name != _NEW:
            return found
        return tuple(msgspec.structs.replace(key, present=True) for key in found)

    return key_status


plant(crypto_manager, "add_keys", _nothing_taken)
plant(crypto_manager, "key_status", _all_there)
