"""The key of vCenter that an earlier life has left unsynced is used as if it were durable."""

from __future__ import annotations

from typing import Any

from services.vcenter.providers.symkey import Symkey
from tests.mutations.bugs.planting import plant


def _believing(original: Any) -> Any:
    async def wrapping_key(self: Any) -> Any:
        self._owed = None
        return await original(self)

    return wrapping_key


plant(Symkey, "_durable_key", _believing)
