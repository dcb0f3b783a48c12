"""The key file stays on the disk when the ring is under another root."""

from __future__ import annotations

from typing import Any

from services.kms.roots.keyfile import KeyFile
from tests.mutations.bugs.planting import plant


def _nothing(original: Any) -> Any:
    async def drop(self: KeyFile, means: Any) -> None:
        """Said to be removed."""

    return drop


plant(KeyFile, "drop", _nothing)
