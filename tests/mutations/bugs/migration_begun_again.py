"""MOB-01 broken: a migration that failed is begun again, from the first nonce of its key."""

from __future__ import annotations

from typing import Any

from services.esxi.migration import outgoing
from tests.mutations.bugs.planting import plant


def _forgetful(original: Any) -> Any:
    async def migrate(host: Any, message: Any) -> Any:
        host.migrations.left.pop(message.vm, None)
        return await original(host, message)

    return migrate


plant(outgoing, "migrate", _forgetful)
