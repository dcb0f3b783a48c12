"""Native providers that are not backed up: told again every 24 hours (NKP-05)."""

from __future__ import annotations

from typing import Final

from services.runtime.ports import Clock
from services.vcenter import events
from services.vcenter.inventory import Inventory
from services.vcenter.knobs import VcenterNode
from services.vcenter.providers.native import is_backed_up

PERIOD_S: Final = 86_400.0


class BackupReminders:
    """Tells of them from ``start`` on; the first time after one period."""

    def __init__(self, node: VcenterNode, clock: Clock, inventory: Inventory) -> None:
        self._node, self._clock, self._inventory = node, clock, inventory

    def start(self) -> None:
        """In the background for the rest of the node's life."""
        self._node.background("backups", self._remind())

    async def _remind(self) -> None:
        async for _ in self._clock.every(PERIOD_S):
            told = [
                events.not_backed_up(row.name, after_update=row.native.backed_up)
                for row in self._inventory.providers.values()
                if row.native is not None and not is_backed_up(row.native)
            ]
            if told:
                await self._inventory.commit(events=told)
