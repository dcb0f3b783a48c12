"""DUR-03 broken: the names of a host's boot bank are synced, and what is in its files is not."""

from __future__ import annotations

from typing import Any

from services.esxi.configuration.archive import FOLDER
from services.runtime.sim.disk import SimDisk
from tests.mutations.bugs.planting import plant


def _forgetful(original: Any) -> Any:
    async def sync(self: Any, path: str) -> None:
        if not path.startswith(FOLDER):
            await original(self, path)

    return sync


plant(SimDisk, "sync", _forgetful)
