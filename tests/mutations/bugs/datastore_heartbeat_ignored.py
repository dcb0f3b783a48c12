"""HA-01 broken: who does not answer on the network is dead, whatever the datastore says."""

from __future__ import annotations

from typing import Any

from services.esxi.ha import primary
from tests.mutations.bugs.planting import plant


def _dead(original: Any) -> Any:
    async def lives(datastore: Any, host: Any) -> bool:
        return False

    return lives


plant(primary, "lives", _dead)
