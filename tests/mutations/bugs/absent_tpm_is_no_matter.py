"""CFG-01 broken: a host whose TPM is gone opens the configuration that this one has sealed."""

from __future__ import annotations

from typing import Any

from protocol.secret import KeyMaterial
from services.esxi import boot
from tests.mutations.bugs.planting import plant

_escrow: dict[str, KeyMaterial] = {}


def _kept(original: Any) -> Any:
    async def first_boot(host: Any) -> None:
        await original(host)
        _escrow[str(host.node.name)] = host.archive.config_key

    return first_boot


def _without(original: Any) -> Any:
    async def unsealed(host: Any, protection: Any) -> KeyMaterial:
        if host.tpm is None:
            return _escrow[str(host.node.name)]
        return await original(host, protection)  # type: ignore[no-any-return]

    return unsealed


plant(boot, "first_boot", _kept)
plant(boot, "_unseal_config_key", _without)
