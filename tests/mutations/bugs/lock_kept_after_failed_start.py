"""The host broken: a VM whose start failed stays locked on the datastore."""

from __future__ import annotations

from typing import Any

import services.esxi.vms.power as power
from tests.mutations.bugs.planting import plant


class _Keeping:
    """A datastore that gives no lock back."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def unlock(self, vm: str) -> None:
        self.kept = vm


def _keeping(original: Any) -> Any:
    async def start(host: Any, vm: Any, *, ask: bool) -> Any:
        try:
            return await original(host, vm, ask=ask)
        except BaseException:
            host.datastore = _Keeping(host.datastore)
            raise

    return start


plant(power, "_start_guest", _keeping)
