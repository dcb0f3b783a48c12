"""HA-01 broken: a VM is started whoever holds its lock, so two hosts may run one VM."""

from __future__ import annotations

from typing import Any

from services.esxi.vms import files
from tests.mutations.bugs.planting import plant


def _free(original: Any) -> Any:
    async def take_lock(datastore: Any, vm: Any) -> None:
        return

    return take_lock


plant(files, "take_lock", _free)
