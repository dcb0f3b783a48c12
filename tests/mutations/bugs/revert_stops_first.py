"""A revert broken: a VM that runs is stopped before anybody knows that it can go back."""

from __future__ import annotations

from typing import Any

from services.esxi.vms import revert
from tests.mutations.bugs.planting import plant


def _stopped(original: Any) -> Any:
    async def resumed(host: Any, vm: Any, config: Any, kept: Any) -> None:
        vm.guest = None
        await original(host, vm, config, kept)

    return resumed


plant(revert, "_resume_guest", _stopped)
