"""HEM-07 broken: a host key that cannot be had is made anew with any provider."""

from __future__ import annotations

from typing import Any

from services.vcenter.hosts.host_key import HostKeys
from tests.mutations.bugs.planting import plant


def _any(original: Any) -> Any:
    def renewing_provider(self: Any, row: Any) -> Any:
        return original(self, row) or next(iter(self._inventory.providers), None)

    return renewing_provider


def _made(original: Any) -> Any:
    async def make(self: Any, row: Any, *facts: Any, fresh: bool, fallback: Any) -> Any:
        chosen = fallback or self._renewing_provider(row)
        return await original(self, row, *facts, fresh=fresh, fallback=chosen)

    return make


plant(HostKeys, "_renewing_provider", _any)
plant(HostKeys, "_make", _made)
