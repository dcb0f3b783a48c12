"""Durable before acknowledged, broken: a sync that failed is tried again, and then believed."""

from __future__ import annotations

import errno
from typing import Any

from services.esxi.configuration.archive import FOLDER
from services.runtime.sim.disk import SimDisk
from tests.mutations.bugs.planting import plant


def _again(original: Any) -> Any:
    async def sync(self: Any, path: str) -> None:
        try:
            await original(self, path)
        except OSError as error:
            if error.errno != errno.EIO or not path.startswith(FOLDER):
                raise
            await original(self, path)

    return sync


plant(SimDisk, "sync", _again)
