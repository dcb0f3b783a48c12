"""KP-17 broken: a host that connects drops keys of providers that are not listed."""

from __future__ import annotations

from typing import Any

from services.esxi import crypto_manager
from tests.mutations.bugs.planting import plant


def _tidy(original: Any) -> Any:
    async def set_providers(host: Any, providers: Any, given: Any) -> None:
        await original(host, providers, given)
        listed = {provider.provider_id for provider in providers}
        here = {key.provider_id for key in host.keys.ids()} - listed
        for provider in sorted(here):
            await crypto_manager.evict(host, provider)

    return set_providers


plant(crypto_manager, "set_providers", _tidy)
