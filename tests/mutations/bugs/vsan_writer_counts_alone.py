"""VSAN-04 broken: a writer takes the next number that it knows of, and nobody promises it. One that
falls with its write on its own disk alone comes back with the number of a later one."""

from __future__ import annotations

from typing import Any

from services.esxi.host import Host
from services.esxi.vsan import objects
from tests.mutations.bugs.planting import plant


def _counts_alone(original: Any) -> Any:
    async def reserved(host: Host, name: str) -> int:
        stamp: int = objects.replica_here(host, name)[2].stamp
        return stamp + 1

    return reserved


plant(objects, "_reserve_number", _counts_alone)
