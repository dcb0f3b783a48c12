"""VSAN-04 broken: a host tells of a disk that is in its place, and would not be after a loss of
power."""

from __future__ import annotations

from typing import Any

from services.esxi.vsan.groups import DiskGroups
from services.runtime.ports import Disk
from tests.mutations.bugs.planting import plant


def _believes_the_cache(original: Any) -> Any:
    async def sync(self: DiskGroups, disk: Disk) -> None:
        del self, disk

    return sync


plant(DiskGroups, "sync", _believes_the_cache)
