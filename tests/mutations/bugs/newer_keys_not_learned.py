"""LOCK-01 broken: vCenter records a VM's keys once, and never learns those that came since."""

from __future__ import annotations

from typing import Any

from services.vcenter.hosts import reported_vms
from tests.mutations.bugs.planting import plant


def _only_once(original: Any) -> Any:
    def keys_of(row: Any, vm: Any, hosts: Any) -> Any:
        return original(row, vm, hosts) if row.recrypting or not row.keys else ()

    return keys_of


plant(reported_vms, "_keys_of", _only_once)
