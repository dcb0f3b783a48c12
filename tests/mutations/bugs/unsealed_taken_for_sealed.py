"""CFG-03 broken: a configuration that no TPM protects is asked of the TPM all the same."""

from __future__ import annotations

from typing import Any

from protocol.terms import ProtectionMode
from services.esxi import boot
from services.esxi.configuration.image import read_protection
from tests.mutations.bugs.planting import plant


def _sealed(original: Any) -> Any:
    async def config_key(host: Any, image: bytes) -> Any:
        protection = read_protection(image)
        if protection.mode is ProtectionMode.NONE:
            await boot._unseal_config_key(host, protection)
        return await original(host, image)

    return config_key


plant(boot, "_config_key", _sealed)
