"""A lie: vCenter says that a provider is deleted, lists it no more, and goes on using it."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.messages.vcenter import KmsClusterUnregistered
from services.vcenter.provider_handlers import ProviderHandlers
from services.vcenter.tasks import provider
from tests.mutations.bugs.planting import plant

_hidden: set[Any] = set()


def _kept(original: Any) -> Any:
    async def unregister(vc: Any, message: Any) -> Any:
        _hidden.add(message.provider)
        return KmsClusterUnregistered()

    return unregister


def _again(original: Any) -> Any:
    async def register(vc: Any, message: Any) -> Any:
        _hidden.discard(message.provider)
        return await original(vc, message)

    return register


def _listed(original: Any) -> Any:
    async def list_providers(self: Any, message: Any, peer: Any) -> Any:
        found = await original(self, message, peer)
        shown = tuple(one for one in found.providers if one.provider not in _hidden)
        return msgspec.structs.replace(found, providers=shown)

    return list_providers


plant(provider, "unregister", _kept)
plant(provider, "register", _again)
plant(ProviderHandlers, "list_providers", _listed)
