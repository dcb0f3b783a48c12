"""An alarm that never clears: once locked, a VM has its alarm for as long as its vCenter lives."""

from __future__ import annotations

from typing import Any

import msgspec

from services.vcenter import vcenter
from services.vcenter.alarms import AlarmId
from tests.mutations.bugs.planting import plant


def _sticking(original: Any) -> Any:
    rung: set[str] = set()

    def vm_info(row: Any, **state: Any) -> Any:
        info = original(row, **state)
        if AlarmId.VM_LOCKED.value in info.alarms:
            rung.add(row.name)
        elif row.name in rung:
            return msgspec.structs.replace(info, alarms=(*info.alarms, AlarmId.VM_LOCKED.value))
        return info

    return vm_info


plant(vcenter, "vm_info", _sticking)
