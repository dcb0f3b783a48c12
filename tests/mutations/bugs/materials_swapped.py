"""Keys broken: of several keys in one message a host puts each value under the id of the next."""

from __future__ import annotations

from typing import Any

from protocol.messages.base import Sealed
from services.esxi import crypto_manager
from tests.mutations.bugs.planting import plant


def _swapped(original: Any) -> Any:
    async def add_keys(host: Any, keys: Any, material: Any, kind: Any) -> Any:
        values = material.keys
        return await original(host, keys, Sealed.of(*values[1:], *values[:1]), kind)

    return add_keys


plant(crypto_manager, "add_keys", _swapped)
