"""A27 broken: a host writes the values of keys that arrive into its log."""

from __future__ import annotations

import base64
from typing import Any

from services.esxi import crypto_manager
from tests.mutations.bugs.planting import plant


def _told(original: Any) -> Any:
    async def add_keys(host: Any, keys: Any, material: Any, kind: Any) -> Any:
        for secret in material.keys:
            host.node.record("keys.value", text=base64.b64encode(secret.reveal()).decode())
        return await original(host, keys, material, kind)

    return add_keys


plant(crypto_manager, "add_keys", _told)
