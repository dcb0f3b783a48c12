"""A rotation lets the old KEK go while keys are still under it."""

from __future__ import annotations

from typing import Any

from services.kms.custody import Custody
from tests.mutations.bugs.planting import plant


def _at_once(original: Any) -> Any:
    async def rotate(self: Custody, caller: Any, after: int) -> None:
        before = self._vault.ring.current.number
        await original(self, caller, after)
        if self._vault.ring.current.number != before:
            await self._retire()

    return rotate


async def _none(fn: Any) -> int:
    return 0


def _unasked(original: Any) -> Any:
    async def retire(self: Any) -> None:
        query, self._database.query = self._database.query, _none
        try:
            await original(self)
        finally:
            self._database.query = query

    return retire


plant(Custody, "rotate", _at_once)
plant(Custody, "_retire", _unasked)
