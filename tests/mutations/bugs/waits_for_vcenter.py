"""A03 broken: a host with persisted keys waits for vCenter before it starts its VMs."""

from __future__ import annotations

from typing import Any

from services.esxi.vms import autostart
from tests.mutations.bugs.planting import plant


def _patient(original: Any) -> Any:
    async def start_wanted_vms(host: Any) -> None:
        while not host.uplink.connected:
            await host.clock.sleep(1.0)
        await original(host)

    return start_wanted_vms


plant(autostart, "start_wanted_vms", _patient)
