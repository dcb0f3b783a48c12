"""LOCK-01 broken: a VM is marked as locked, and the event that tells of it is missing."""

from __future__ import annotations

from typing import Any

from services.vcenter.inventory import Inventory
from tests.mutations.bugs.planting import plant


def _silent(original: Any) -> Any:
    async def commit(self: Any, *edits: Any, events: Any = ()) -> Any:
        told = [draft for draft in events if ".VMLocked." not in draft.event.value]
        return await original(self, *edits, events=told)

    return commit


plant(Inventory, "commit", _silent)
