"""A lie: vCenter shows every VM as unlocked and connected, whatever it has marked."""

from __future__ import annotations

from typing import Any

import msgspec

from services.vcenter import vcenter
from tests.mutations.bugs.planting import plant


def _rosy(original: Any) -> Any:
    def vm_info(row: Any, **seen: Any) -> Any:
        return original(msgspec.structs.replace(row, lock_event=None, missing=()), **seen)

    return vm_info


plant(vcenter, "vm_info", _rosy)
