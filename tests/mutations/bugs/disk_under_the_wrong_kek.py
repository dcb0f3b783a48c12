"""KEY-04 broken: a disk that is to have a key of its own is wrapped under that of the home."""

from __future__ import annotations

from typing import Any

from services.esxi.vms import disks
from tests.mutations.bugs.planting import plant


def _homes(original: Any) -> Any:
    def usable_kek(host: Any, vm: Any, key: Any) -> Any:
        return original(host, vm, host.vms[vm].config.home.key)

    return usable_kek


plant(disks, "usable_kek", _homes)
