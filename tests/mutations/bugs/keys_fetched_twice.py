"""STD-16 broken: each key that is to be pushed is fetched twice."""

from __future__ import annotations

from typing import Any

from services.vcenter.providers.standard import StandardProvider
from tests.mutations.bugs.planting import plant


def _twice(original: Any) -> Any:
    async def fetch(self: Any, key_ids: Any, material: Any, missing: Any) -> None:
        await original(self, key_ids, {}, {})
        await original(self, key_ids, material, missing)

    return fetch


plant(StandardProvider, "_fetch", _twice)
