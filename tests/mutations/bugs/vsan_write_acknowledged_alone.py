"""VSAN-04 broken: a write is acknowledged, and read, when the writer's own component has it."""

from __future__ import annotations

from typing import Any

from services.esxi.host import Host
from services.esxi.vsan import objects
from services.esxi.vsan.label import PlacedComponent
from tests.mutations.bugs.planting import plant


def _is_enough(original: Any) -> Any:
    async def spread(host: Host, placed: PlacedComponent, stamp: int) -> bool:
        await original(host, placed, stamp)
        return True

    return spread


plant(objects, "_spread", _is_enough)
