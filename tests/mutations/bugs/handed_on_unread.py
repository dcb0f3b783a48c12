"""Replication broken: who has a change handed on is answered before this server knows of it."""

from __future__ import annotations

from typing import Any

from services.kms.doors.learning import Learning
from tests.mutations.bugs.planting import plant


def _at_once(original: Any) -> Any:
    async def learned(learning: Any, *of: Any) -> bool:
        return True

    return learned


plant(Learning, "learned", _at_once)
