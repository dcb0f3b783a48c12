"""MOB-03 broken: a target within its autostart window starts a VM anew that is on its way to it."""

from __future__ import annotations

from typing import Any

from services.esxi.vms import autostart
from tests.mutations.bugs.planting import plant


def _blind(original: Any) -> Any:
    async def try_each(host: Any, vms: Any, **more: Any) -> Any:
        held, host.migrations.incoming = host.migrations.incoming, {}
        try:
            return await original(host, vms, **more)
        finally:
            host.migrations.incoming = held | host.migrations.incoming

    return try_each


plant(autostart, "_try_each", _blind)
