"""VTPM-08 broken: a VM that goes back to run is started anew, from its disks alone."""

from __future__ import annotations

from typing import Any

import msgspec

from services.esxi.vms import revert
from services.esxi.vms.memory import PAGES, SECRET_SIZE, Ram
from tests.mutations.bugs.planting import plant


def _anew(original: Any) -> Any:
    async def memory(host: Any, config: Any, kept: Any, keys: Any) -> Any:
        found = await original(host, config, kept, keys)
        ram = Ram(host.rng.token(SECRET_SIZE), secrecy=bool(config.keys))
        for _ in range(PAGES):
            ram.write()
        return msgspec.structs.replace(found, pages=ram.pages, writes=ram.writes)

    return memory


plant(revert, "_memory", _anew)
