"""REK-01 broken: a recrypt is answered, and the VM's configuration is never written."""

from __future__ import annotations

from typing import Any

from services.esxi.vms import recrypt
from tests.mutations.bugs.planting import plant


def _forgotten(original: Any) -> Any:
    async def write_config(*arguments: Any) -> None:
        return

    return write_config


plant(recrypt, "write_config", _forgotten)
