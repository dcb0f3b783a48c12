"""DEL-02 broken: a key that the host derived stays in its cache when its provider is evicted."""

from __future__ import annotations

from typing import Any

from services.esxi import crypto_manager
from tests.mutations.bugs.planting import plant


def _only_brought(original: Any) -> Any:
    async def evict(host: Any, provider: Any) -> tuple[int, int]:
        kept = [host.keys[key] for key in host.derived if key.provider_id == provider]
        done = await original(host, provider)
        for entry in kept:
            host.keys.put(entry)
        return done  # type: ignore[no-any-return]

    return evict


plant(crypto_manager, "evict", _only_brought)
