"""A03 broken: a host with persisted keys waits for vCenter before it starts its VMs."""

from __future__ import annotations

from typing import Any

from services.esxi.vms import power
from tests.mutations.bugs.planting import plant


def _patient(original: Any) -> Any:
    async def autostart(host: Any) -> None:
        while not host.uplink.connected:
            await host.clock.sleep(1.0)
        await original(host)

    return autostart


plant(power, "autostart", _patient)
