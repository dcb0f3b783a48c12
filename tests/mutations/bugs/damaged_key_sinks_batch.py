"""One key for all broken: a key server that fails at one key of many has none of them."""

from __future__ import annotations

from typing import Any

from protocol.errors import CryptographicFailure, KeyProviderUnreachable
from services.vcenter.providers.standard import StandardProvider
from tests.mutations.bugs.planting import plant


def _whole(original: Any) -> Any:
    async def ask(self: Any, message: Any, *rest: Any) -> Any:
        try:
            return await original(self, message, *rest)
        except CryptographicFailure as error:
            raise KeyProviderUnreachable(str(error)) from None

    return ask


plant(StandardProvider, "_ask", _whole)
