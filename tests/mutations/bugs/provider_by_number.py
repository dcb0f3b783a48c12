"""KEY-01 broken: a provider is a number that it gets when it is made, not its name."""

from __future__ import annotations

from typing import Any

from protocol.terms import KeyUnavailableReason, ProviderId
from services.vcenter.providers.registry import KeyBundle, ProviderRegistry
from services.vcenter.tasks import provider
from tests.mutations.bugs.planting import plant

_gone: set[ProviderId] = set()
_REASON = KeyUnavailableReason.CLUSTER_INVALID


def _numbered(original: Any) -> Any:
    async def unregister(vc: Any, message: Any) -> Any:
        done = await original(vc, message)
        _gone.add(message.provider)
        return done

    return unregister


def _fetch(original: Any) -> Any:
    async def fetch(self: Any, name: Any, keys: Any, *, fresh: bool) -> Any:
        if name in _gone:
            return KeyBundle((), dict.fromkeys(keys, _REASON))
        return await original(self, name, keys, fresh=fresh)

    return fetch


plant(provider, "unregister", _numbered)
plant(ProviderRegistry, "fetch", _fetch)
