"""MOB-04 broken: a key that the target of a move has already is fetched again all the same."""

from __future__ import annotations

from typing import Any

from services.vcenter.hosts.plan import by_provider
from services.vcenter.hosts.remediation import Remediation
from tests.mutations.bugs.planting import plant


def _always(original: Any) -> Any:
    async def provide(self: Any, session: Any, keys: Any) -> Any:
        denied = await original(self, session, keys)
        for provider, some in by_provider(keys).items():
            denied.update(await self._delivery.supply(session, provider, some, fresh=True))
        return denied

    return provide


plant(Remediation, "provide", _always)
