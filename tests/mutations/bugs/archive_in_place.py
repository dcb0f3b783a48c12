"""Old or new, broken: the archive is written over the old one, not beside it."""

from __future__ import annotations

from typing import Any

from services.esxi.configuration import archive
from services.esxi.configuration.archive import FOLDER
from tests.mutations.bugs.planting import plant


def _in_place(original: Any) -> Any:
    async def replace_durably(disk: Any, path: str, data: bytes, **options: Any) -> None:
        await disk.write(path, data)
        await disk.sync(path)
        await disk.sync_folder(FOLDER)
        await disk.sync_folder()

    return replace_durably


plant(archive, "replace_durably", _in_place)
