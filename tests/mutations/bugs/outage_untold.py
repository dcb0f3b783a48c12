"""A22 broken: that a key server does not answer is known, and no event tells of it."""

from __future__ import annotations

from typing import Any

from protocol.events import EventTypeId
from services.vcenter.inventory import Inventory
from tests.mutations.bugs.planting import plant


def _silent(original: Any) -> Any:
    async def commit(self: Any, *edits: Any, events: Any = ()) -> Any:
        told = [draft for draft in events if draft.event is not EventTypeId.KMS_UNREACHABLE]
        return await original(self, *edits, events=told)

    return commit


plant(Inventory, "commit", _silent)
