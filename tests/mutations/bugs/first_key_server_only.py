"""STD-08 broken: when the key server whose turn it is does not answer, no other one is asked."""

from __future__ import annotations

from typing import Any

from services.vcenter.providers.standard import StandardProvider
from tests.mutations.bugs.planting import plant


def _alone(original: Any) -> Any:
    async def ask(self: Any, message: Any, *rest: Any) -> Any:
        servers, at = self._servers, self._next
        self._servers, self._next = (servers[at % len(servers)],), 0
        try:
            return await original(self, message, *rest)
        finally:
            self._servers, self._next = servers, (at + 1) % len(servers)

    return ask


plant(StandardProvider, "_ask", _alone)
