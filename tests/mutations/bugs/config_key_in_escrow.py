"""CFG-02 broken: the config key can be had without the TPM that seals it."""

from __future__ import annotations

from typing import Any

from protocol.secret import KeyMaterial
from services.esxi import boot
from services.runtime.service import Halted
from tests.mutations.bugs.planting import plant

_escrow: dict[str, KeyMaterial] = {}


def _kept(original: Any) -> Any:
    async def first_boot(host: Any) -> None:
        await original(host)
        _escrow[str(host.node.name)] = host.archive.config_key

    return first_boot


def _lenient(original: Any) -> Any:
    async def unsealed(host: Any, protection: Any) -> KeyMaterial:
        try:
            return await original(host, protection)  # type: ignore[no-any-return]
        except Halted:
            return _escrow[str(host.node.name)]

    return unsealed


plant(boot, "first_boot", _kept)
plant(boot, "_unseal_config_key", _lenient)
