"""SC-39 broken: a host derives a key for a native reference that has no key id."""

from __future__ import annotations

from typing import Any

from services.esxi.providers import native
from services.esxi.vms import disks
from tests.mutations.bugs.planting import plant


def _generous(original: Any) -> Any:
    def usable_kek(host: Any, vm: Any, key: Any) -> Any:
        return original(host, vm, key) if key.key_id else native.bring(host, key)

    return usable_kek


plant(disks, "usable_kek", _generous)
