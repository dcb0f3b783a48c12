"""What is shown is durable, broken: vCenter shows a change that its disk has refused."""

from __future__ import annotations

from typing import Any

from services.vcenter import inventory
from services.vcenter.inventory import Inventory
from tests.mutations.bugs.planting import plant

_BASE = inventory._apply


def _hasty(original: Any) -> Any:
    async def commit(self: Any, *edits: Any, events: Any = ()) -> Any:
        def shown(connection: Any, edit: Any) -> Any:
            for table, name, row in (outcomes := list(_BASE(connection, edit))):
                self._show(table, name, row)
            return outcomes

        inventory._apply = shown
        return await original(self, *edits, events=events)

    return commit


plant(Inventory, "commit", _hasty)
