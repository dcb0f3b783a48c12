"""KPS-03 broken: a primary key that was fetched once is kept, whatever the knob says."""

from __future__ import annotations

from typing import Any

from protocol.terms import KmipState
from services.keyprovider.primary import PrimaryKeys
from tests.mutations.bugs.planting import plant


def _keeping(original: Any) -> Any:
    async def key(self: Any, provider: Any, key_id: Any, usable: Any) -> Any:
        found = await original(self, provider, key_id, usable)
        self._kept[provider.provider, key_id] = found, KmipState.ACTIVE
        return found

    return key


plant(PrimaryKeys, "key", _keeping)
