"""A snapshot broken: a VM that goes back keeps the state that its virtual TPM has now."""

from __future__ import annotations

from typing import Any

import msgspec

from services.esxi.vms import revert
from tests.mutations.bugs.planting import plant


def _made_of_disks_only(original: Any) -> Any:
    return lambda config, kept: original(config, msgspec.structs.replace(kept, vtpm=0))


def _disks_only_switched(original: Any) -> Any:
    async def switch(host: Any, config: Any, kept: Any, made: Any, guest: Any) -> None:
        await original(host, config, msgspec.structs.replace(kept, vtpm=0), made, guest)

    return switch


plant(revert, "_config_of", _made_of_disks_only)
plant(revert, "_switch", _disks_only_switched)
