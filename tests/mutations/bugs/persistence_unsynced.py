"""DUR-03 broken: the configuration archive is written and never synced."""

from __future__ import annotations

from typing import Any

from services.esxi.configuration.archive import FOLDER
from services.runtime.real.disk import LabDisk
from services.runtime.sim.disk import SimDisk
from tests.mutations.bugs.planting import plant


def _forgetful(original: Any) -> Any:
    async def sync(self: Any, path: str = "") -> None:
        if not path.startswith(FOLDER):
            await original(self, path)

    return sync


for _disk in (SimDisk, LabDisk):
    plant(_disk, "sync", _forgetful)
    plant(_disk, "sync_folder", _forgetful)
