"""STD-15 broken: vCenter keeps the values it fetched, and answers from them."""

from __future__ import annotations

from typing import Any

from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, KeyId
from services.vcenter.providers.registry import KeyBundle, ProviderRegistry
from services.vcenter.providers.standard import StandardProvider
from tests.mutations.bugs.planting import plant

_kept: dict[KeyId, KeyMaterial] = {}


def _create(original: Any) -> Any:
    async def create_key(self: Any, operation_id: str, *rest: Any) -> Any:
        made = await original(self, operation_id, *rest)
        _kept[made.key_id] = made.material
        return made

    return create_key


def _fetch(original: Any) -> Any:
    async def fetch(self: Any, provider: Any, keys: Any, *, fresh: bool) -> Any:
        bundle = await original(self, provider, keys, fresh=fresh)
        _kept.update({key.key_id: value for key, value in bundle.values})
        known: list[CryptoKeyId] = [k for k in bundle.denied if k.key_id in _kept]
        return KeyBundle(
            (*bundle.values, *((key, _kept[key.key_id]) for key in known)),
            {k: why for k, why in bundle.denied.items() if k not in known},
        )

    return fetch


plant(StandardProvider, "create_key", _create)
plant(ProviderRegistry, "fetch", _fetch)
