"""LOCK-05 broken: a VM that is unlocked is powered on too."""

from __future__ import annotations

from typing import Any

from protocol.messages.host import HostPowerOnVm
from services.vcenter.push import Push
from tests.mutations.bugs.planting import plant


def _eager(original: Any) -> Any:
    async def judge(self: Any, link: Any, rows: Any, *args: Any, **kwargs: Any) -> None:
        rows = list(rows)
        locked = [row.name for row in rows if row.lock_event is not None]
        await original(self, link, rows, *args, **kwargs)
        for name in locked:
            row = self._inventory.vms.get(name)
            if row is not None and row.lock_event is None:
                await link.command(HostPowerOnVm(vm=name))

    return judge


plant(Push, "_judge", _eager)
