"""NKP-03 broken: an export counts as a backup before anybody has its file."""

from __future__ import annotations

from typing import Any

import msgspec

from services.vcenter.inventory import change_provider
from services.vcenter.provider_handlers import ProviderHandlers
from tests.mutations.bugs.planting import plant


def _counted(original: Any) -> Any:
    async def export_provider(self: Any, message: Any, peer: Any) -> Any:
        location = await original(self, message, peer)
        row = self.vcenter.inventory.providers[message.provider]
        done = msgspec.structs.replace(row.native, backed_up=True)
        await self.vcenter.inventory.commit(change_provider(row.name, native=done))
        return location

    return export_provider


plant(ProviderHandlers, "export_provider", _counted)
