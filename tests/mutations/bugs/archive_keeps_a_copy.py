"""KP-03 broken: the store is emptied, and the archive that had the keys stays beside it."""

from __future__ import annotations

from typing import Any

from services.esxi.configuration import archive
from tests.mutations.bugs.planting import plant


def _keeping(original: Any) -> Any:
    async def replace_durably(disk: Any, path: str, data: bytes, **options: Any) -> None:
        folder, _, name = path.rpartition("/")
        if name in await disk.list(folder):
            await original(disk, f"{path}.old", await disk.read(path))
        await original(disk, path, data, **options)

    return replace_durably


plant(archive, "replace_durably", _keeping)
