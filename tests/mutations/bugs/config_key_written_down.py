"""CFG-02 broken: what the TPM unsealed at a boot lies on the disk afterwards."""

from __future__ import annotations

from typing import Any

from services.esxi import boot
from tests.mutations.bugs.planting import plant


def _written(original: Any) -> Any:
    async def unsealed(host: Any, protection: Any) -> Any:
        found = await original(host, protection)
        await host.disk.write("unsealed.bin", found.reveal())
        return found

    return unsealed


plant(boot, "_unseal_config_key", _written)
