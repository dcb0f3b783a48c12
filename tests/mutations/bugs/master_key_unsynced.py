"""A key server's master key is used before its name is durable."""

from __future__ import annotations

from typing import Any

from services.kms.roots import keyfile
from tests.mutations.bugs.planting import plant


def _unsynced(original: Any) -> Any:
    async def replace_durably(disk: Any, path: str, data: bytes, **options: Any) -> None:
        await disk.write(f"{path}.new", data)
        await disk.sync(f"{path}.new")
        await disk.replace(f"{path}.new", path)

    return replace_durably


plant(keyfile, "replace_durably", _unsynced)
