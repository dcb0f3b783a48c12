"""VSAN-04 broken: a host reads and writes its replica without asking whether it missed a write."""

from __future__ import annotations

from typing import Any

from services.esxi.host import Host
from services.esxi.vsan import objects
from tests.mutations.bugs.planting import plant


def _believes_itself(original: Any) -> Any:
    async def be_current(host: Host, name: str) -> int:
        stamp: int = objects.replica_here(host, name)[2].stamp
        return stamp

    return be_current


plant(objects, "be_current", _believes_itself)
