"""A snapshot broken: a VM that goes back keeps the state that its virtual TPM has now."""

from __future__ import annotations

from typing import Any

import msgspec

from services.esxi.vms import snapshots
from tests.mutations.bugs.planting import plant


def _of_disks_only(original: Any) -> Any:
    async def reverted(host: Any, config: Any, kept: Any) -> Any:
        return await original(host, config, msgspec.structs.replace(kept, vtpm=0))

    return reverted


plant(snapshots, "_reverted", _of_disks_only)
