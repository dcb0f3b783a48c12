"""B9 broken: a host that booted starts none of its VMs."""

from __future__ import annotations

from typing import Any

from services.esxi.vms import autostart
from tests.mutations.bugs.planting import plant


async def _idle(host: Any) -> None:
    """Nothing is started."""


plant(autostart, "start_wanted_vms", lambda original: _idle)
