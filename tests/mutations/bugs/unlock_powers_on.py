"""LOCK-05 broken: a VM that is unlocked is powered on too."""

from __future__ import annotations

from typing import Any

from protocol.messages.host import HostPowerOnVm
from services.vcenter.hosts.remediation import PassTelling
from tests.mutations.bugs.planting import plant


def _eager(original: Any) -> Any:
    async def commit(self: Any, session: Any, rows: Any, *args: Any, **kwargs: Any) -> None:
        rows = list(rows)
        locked = [row.name for row in rows if row.lock_event is not None]
        await original(self, session, rows, *args, **kwargs)
        for name in locked:
            row = self._inventory.vms.get(name)
            if row is not None and row.lock_event is None:
                await session.command(HostPowerOnVm(vm=name))

    return commit


plant(PassTelling, "marks", _eager)
