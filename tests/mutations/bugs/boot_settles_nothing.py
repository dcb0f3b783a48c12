"""Decision 32 broken: what a boot found counts as durable, and perhaps was only written."""

from __future__ import annotations

from typing import Any

from services.esxi.configuration.archive import Archive
from tests.mutations.bugs.planting import plant


def _believing(original: Any) -> Any:
    async def settle(self: Any) -> None:
        self._settled = True

    return settle


plant(Archive, "_settle", _believing)
