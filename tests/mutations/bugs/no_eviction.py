"""C4 broken: keys of a provider that was deleted long ago stay on the hosts."""

from __future__ import annotations

from typing import Any

from services.vcenter.push import Push
from tests.mutations.bugs.planting import plant


async def _evict(self: Any, link: Any, present: Any) -> list[Any]:
    return []


plant(Push, "_evict", lambda original: _evict)
