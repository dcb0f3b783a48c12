"""DUR-03 broken: a file that took the place of another in the boot bank is not made durable."""

from __future__ import annotations

from typing import Any

from services.esxi.configuration.archive import FOLDER
from services.runtime.sim.disk import SimDisk
from tests.mutations.bugs.planting import plant


def _forgetful(original: Any) -> Any:
    async def sync_folder(self: Any, folder: str = "") -> None:
        if folder != FOLDER:
            await original(self, folder)

    return sync_folder


plant(SimDisk, "sync_folder", _forgetful)
