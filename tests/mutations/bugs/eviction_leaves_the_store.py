"""DEL-02 broken: keys of a deleted provider leave a host, and stay in its store."""

from __future__ import annotations

from typing import Any

from services.esxi import crypto_manager
from tests.mutations.bugs.planting import plant


def _forgetful(original: Any) -> Any:
    async def evict(host: Any, provider: Any) -> Any:
        cached = [key for key in host.keys.ids() if key.provider_id == provider]
        for key in cached:
            host.keys.remove(key)
        return len(cached), 0

    return evict


plant(crypto_manager, "evict", _forgetful)
