"""B9 broken: a host that booted starts none of its VMs."""

from __future__ import annotations

from typing import Any

from lab.mutations.planting import plant
from services.esxi import power


async def _idle(host: Any) -> None:
    """Nothing is started."""


plant(power, "autostart", lambda original: _idle)
