"""REK-04 broken: a recrypt wraps the home's DEK anew, and says that all of them are."""

from __future__ import annotations

from typing import Any

import msgspec

from services.esxi.vms import recrypt
from services.esxi.vms.vmx import WrappedDek
from tests.mutations.bugs.planting import plant


def _half(original: Any) -> Any:
    def rewrapped_config(config: Any, opened: Any, key: Any, kek: Any, rng: Any, only: Any) -> Any:
        made = original(config, opened, key, kek, rng, only)
        disks = tuple(
            msgspec.structs.replace(disk, dek=disk.dek and WrappedDek(key, disk.dek.wrapped))
            for disk in config.disks
        )
        return msgspec.structs.replace(made, disks=disks)

    return rewrapped_config


plant(recrypt, "rewrap_config", _half)
