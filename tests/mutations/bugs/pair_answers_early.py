"""Replication broken: a key server answers before the other of its pair has the key."""

from __future__ import annotations

from typing import Any

from services.kms.doors.pair import ReplicationPair
from tests.mutations.bugs.planting import plant


def _early(original: Any) -> Any:
    async def settled(self: Any, written: Any) -> None:
        return None

    return settled


plant(ReplicationPair, "confirm", _early)
