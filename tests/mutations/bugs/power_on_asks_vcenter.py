"""KEY-05 broken: a key in the cache serves only while vCenter could be asked for it."""

from __future__ import annotations

from typing import Any

from protocol.errors import EncryptionKeyRequired
from services.esxi.keys import search
from tests.mutations.bugs.planting import plant


def _dependent(original: Any) -> Any:
    async def bring(host: Any, keys: Any, *, subject: str, ask: bool) -> None:
        if not host.uplink.connected:
            raise EncryptionKeyRequired(f"{subject}: vCenter cannot be asked", keys)
        await original(host, keys, subject=subject, ask=ask)

    return bring


plant(search, "bring", _dependent)
