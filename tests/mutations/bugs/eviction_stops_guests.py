"""LOCK-04 broken: a VM that runs loses its DEK when the keys of its provider leave."""

from __future__ import annotations

from typing import Any

from services.esxi import crypto_manager
from tests.mutations.bugs.planting import plant


def _ruthless(original: Any) -> Any:
    async def evict(host: Any, provider: Any) -> Any:
        left = await original(host, provider)
        for vm in host.running():
            if any(key.provider_id == provider for key in vm.config.keys):
                vm.guest.fault = "its key left the host"
        return left

    return evict


plant(crypto_manager, "evict", _ruthless)
