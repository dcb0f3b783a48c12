"""Reminders of native providers without a current backup, every 24 hours (NKP-05).

The provider's row has the time of the last one, so that a restarted vCenter continues the interval.
"""

from __future__ import annotations

from typing import Final

import msgspec

from services.runtime.ports import Clock
from services.vcenter import events
from services.vcenter.inventory import Inventory, change_provider
from services.vcenter.keys.wrapped import NativeConfig
from services.vcenter.knobs import VcenterNode
from services.vcenter.providers.native import is_backed_up
from services.vcenter.tables import ProviderRow

PERIOD_S: Final = 86_400.0
_LEAST_S: Final = 1.0


class BackupReminders:
    """Posts reminders from ``start`` on."""

    def __init__(self, node: VcenterNode, clock: Clock, inventory: Inventory) -> None:
        self._node, self._clock, self._inventory = node, clock, inventory

    def start(self) -> None:
        """Run in the background for the rest of the node's life."""
        self._node.background("backups", self._remind())

    async def _remind(self) -> None:
        while True:
            await self._clock.sleep(self._next_in_s())
            now = self._clock.now()
            due = [
                (row, native)
                for row, native in self._list_not_backed_up()
                if _due(native, now) <= 0.0
            ]
            edits = [
                change_provider(row.name, native=msgspec.structs.replace(native, told_at=now))
                for row, native in due
            ]
            drafts = [
                events.not_backed_up(row.name, after_update=native.backed_up) for row, native in due
            ]
            if drafts:
                await self._inventory.commit(*edits, events=drafts)

    def _list_not_backed_up(self) -> list[tuple[ProviderRow, NativeConfig]]:
        rows = self._inventory.providers.values()
        found = [(row, row.native) for row in rows if row.native is not None]
        return [(row, native) for row, native in found if not is_backed_up(native)]

    def _next_in_s(self) -> float:
        """Lab seconds until the first reminder is due; a provider added meanwhile is not due before
        one period."""
        now = self._clock.now()
        return max(
            _LEAST_S,
            min([PERIOD_S, *(_due(native, now) for _, native in self._list_not_backed_up())]),
        )


def _due(native: NativeConfig, now: float) -> float:
    """Seconds until the next reminder."""
    return native.told_at + PERIOD_S - now
