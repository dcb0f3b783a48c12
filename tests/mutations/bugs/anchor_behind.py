"""Rollback unseen: the anchor is written at a start only, not with each change."""

from __future__ import annotations

from typing import Any

from services.kms.anchor import AnchorKeeper
from tests.mutations.bugs.planting import plant


def _idle(original: Any) -> Any:
    async def settled(self: Any, written: Any) -> None:
        return None

    return settled


plant(AnchorKeeper, "confirm", _idle)
