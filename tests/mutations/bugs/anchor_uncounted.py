"""Rollback of a whole disk unseen: the counter of the TPM is raised and never compared."""

from __future__ import annotations

from typing import Any

from services.kms.anchor import AnchorKeeper
from tests.mutations.bugs.planting import plant


def _unasked(original: Any) -> Any:
    async def check(self: Any, known: int) -> None:
        return None

    return check


plant(AnchorKeeper, "_check_count", _unasked)
