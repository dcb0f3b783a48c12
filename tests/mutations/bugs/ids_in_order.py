"""Key servers number their keys as they make them, each going on from the highest that it knows."""

from __future__ import annotations

from typing import Any

from services.kms import service
from services.kms.ids import IdScheme
from tests.mutations.bugs.planting import plant


def _numbered(original: Any) -> Any:
    async def ids_of(_scheme: Any, database: Any) -> Any:
        return await original(IdScheme.SEQUENTIAL, database)

    return ids_of


plant(service, "ids_of", _numbered)
