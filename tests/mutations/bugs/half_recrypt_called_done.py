"""REK-01 broken: a recrypt is answered as done, and its configuration was never written."""

from __future__ import annotations

from typing import Any

from services.esxi.vms import recrypt
from tests.mutations.bugs.planting import plant


def _nothing(original: Any) -> Any:
    async def write_config(*how: Any) -> None:
        """Nothing is done."""

    return write_config


plant(recrypt, "write_config", _nothing)
