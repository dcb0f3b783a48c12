"""BOOT-01 broken: a host whose boot was stopped goes on with an empty configuration."""

from __future__ import annotations

from typing import Any

from services.esxi import boot
from services.esxi.first_boot import first_boot
from services.runtime.service import Halted
from tests.mutations.bugs.planting import plant


def _dogged(original: Any) -> Any:
    async def config_key(host: Any, image: bytes) -> Any:
        try:
            return await original(host, image)
        except Halted:
            await first_boot(host)
            return host.archive.protection, host.archive.config_key

    return config_key


def _open(original: Any) -> Any:
    def configuration(host: Any, image: bytes, protection: Any, config_key: Any) -> None:
        if not hasattr(host, "archive"):
            original(host, image, protection, config_key)

    return configuration


plant(boot, "_config_key", _dogged)
plant(boot, "_configuration", _open)
