"""Old or new, broken: a boot takes the archive that the last life had not finished."""

from __future__ import annotations

from typing import Any

from services.esxi import boot
from services.esxi.configuration.archive import FILE
from tests.mutations.bugs.planting import plant


def _unfinished(original: Any) -> Any:
    async def read_archive(host: Any) -> Any:
        try:
            return await host.disk.read(f"{FILE}.new")
        except FileNotFoundError:
            return await original(host)

    return read_archive


plant(boot, "_read_archive", _unfinished)
