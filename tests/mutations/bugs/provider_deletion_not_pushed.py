"""NKP-02 broken: hosts are not told that a native provider was deleted."""

from __future__ import annotations

from typing import Any

from services.vcenter.hosts.delivery import KeyDelivery
from tests.mutations.bugs.planting import plant


def _only_more(original: Any) -> Any:
    async def set_providers(self: Any, session: Any, providers: Any) -> None:
        if len(providers) >= len(session.summary.providers):
            await original(self, session, providers)

    return set_providers


plant(KeyDelivery, "set_providers", _only_more)
