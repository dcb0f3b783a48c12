"""LOCK-06 broken: a provider that is added again at another address is another one."""

from __future__ import annotations

from typing import Any

from protocol.terms import KeyUnavailableReason, ProviderId
from services.vcenter.providers.registry import KeyBundle, ProviderRegistry
from services.vcenter.tasks import provider
from tests.mutations.bugs.planting import plant

_first: dict[ProviderId, tuple[Any, ...]] = {}
_other: set[ProviderId] = set()
_REASON = KeyUnavailableReason.CLUSTER_INVALID


def _addressed(original: Any) -> Any:
    async def register(vc: Any, message: Any) -> Any:
        if _first.setdefault(message.provider, message.servers) != message.servers:
            _other.add(message.provider)
        return await original(vc, message)

    return register


def _fetch(original: Any) -> Any:
    async def fetch(self: Any, name: Any, keys: Any, *, fresh: bool) -> Any:
        if name in _other:
            return KeyBundle((), dict.fromkeys(keys, _REASON))
        return await original(self, name, keys, fresh=fresh)

    return fetch


plant(provider, "register", _addressed)
plant(ProviderRegistry, "fetch", _fetch)
