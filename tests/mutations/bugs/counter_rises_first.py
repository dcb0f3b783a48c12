"""The host broken: the TPM's counter of archives rises before the archive is on disk."""

from __future__ import annotations

from typing import Any

from services.esxi.configuration import archive, rollback
from tests.mutations.bugs.planting import plant


def _at_once(original: Any) -> Any:
    async def next_count(tpm: Any, index: int) -> int:
        count: int = await original(tpm, index)
        await rollback.raise_to(tpm, count)
        return count

    return next_count


plant(archive, "next_count", _at_once)
