"""A lie: vCenter answers each power-on at once, shows the VM as on, and asks no host."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.messages.vcenter import VmPowered
from protocol.terms import PowerState
from services.vcenter import vcenter
from services.vcenter.tasks import power
from tests.mutations.bugs.planting import plant

_started: set[Any] = set()
_LATE = "e3-off"  # asked for once while the lab is made, and again by the play
_asked: list[str] = []


def _idle(original: Any) -> Any:
    async def power_on(vc: Any, message: Any) -> Any:
        _asked.append(message.vm)
        if message.vm != _LATE or _asked.count(_LATE) < 2:
            return await original(vc, message)
        _started.add(message.vm)
        return VmPowered(vm=vc.vm_info(message.vm))

    return power_on


def _shown(original: Any) -> Any:
    def vm_info(row: Any, **seen: Any) -> Any:
        told = original(row, **seen)
        if row.name in _started:
            return msgspec.structs.replace(told, power=PowerState.ON)
        return told

    return vm_info


plant(power, "power_on", _idle)
plant(vcenter, "vm_info", _shown)
