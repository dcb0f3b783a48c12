"""HA starts a VM on the word of the primary alone, which may have looked before it was off."""

from __future__ import annotations

from typing import Any

from services.esxi.ha import restart
from tests.mutations.bugs.planting import plant


def _believing(original: Any) -> Any:
    async def check(host: Any, vm: Any, of: Any, epoch: Any) -> None:
        """Nothing is looked at."""

    return check


plant(restart, "_check", _believing)
