"""DUR-03 broken: what comes behind the archive is answered before it is synced."""

from __future__ import annotations

from typing import Any

from services.esxi.configuration.archive import FILE, Archive
from services.runtime.ports import Disk
from tests.mutations.bugs.planting import plant


class _Unsynced:
    """A disk on which the archive's file is never synced."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._disk, name)

    async def sync(self, path: str) -> None:
        if path != FILE:
            await self._disk.sync(path)


def _unsynced(original: Any) -> Any:
    async def grown(self: Any, *arguments: Any) -> Any:
        disk, self._disk = self._disk, _Unsynced(self._disk)
        try:
            return await original(self, *arguments)
        finally:
            self._disk = disk

    return grown


plant(Archive, "_grown", _unsynced)
