"""Events broken: vCenter writes a change first, and what tells of it in a second transaction."""

from __future__ import annotations

from typing import Any

from services.vcenter.inventory import Inventory
from tests.mutations.bugs.planting import plant


def _apart(original: Any) -> Any:
    async def commit(self: Any, *edits: Any, events: Any = ()) -> Any:
        if edits and events:
            await original(self, *edits)
            return await original(self, events=events)
        return await original(self, *edits, events=events)

    return commit


plant(Inventory, "commit", _apart)
