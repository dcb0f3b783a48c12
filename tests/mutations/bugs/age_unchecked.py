"""A key server does not look at its anchor when it starts, so an older database is served from."""

from __future__ import annotations

from typing import Any

from services.kms.anchor import AnchorKeeper
from tests.mutations.bugs.planting import plant


def _unchecked(original: Any) -> Any:
    async def check(self: Any, database: Any) -> None:
        return None

    return check


plant(AnchorKeeper, "check", _unchecked)
