"""A source that has its lock back goes on, without a look at who had the VM meanwhile."""

from __future__ import annotations

from typing import Any

from protocol.errors import ProductError
from services.esxi.migration import outgoing
from services.esxi.vms.files import take_lock
from tests.mutations.bugs.planting import plant


def _trusting(original: Any) -> Any:
    async def goes_on_here(host: Any, vm: Any, message: Any) -> bool:
        try:
            await take_lock(host.datastore, vm.name)
        except ProductError:
            return False
        return True

    return goes_on_here


plant(outgoing, "_goes_on_here", _trusting)
