"""The native key provider (NKP rules): fits the protocol, not built.

Keys are derived on the hosts from the provider's KDK, which vCenter pushes with the list of
providers; a key of its own never travels from vCenter to a host (R55).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from protocol.errors import NotAvailable
from protocol.terms import KeyId, KeyUnavailableReason, ProviderId
from services.vcenter.providers.terms import CreatedKey, FetchedKeys


class NativeProvider:
    """See ``KeyProvider``; every method raises ``NotAvailable``."""

    def __init__(self, name: ProviderId) -> None:
        self._name = name

    def _not_built(self) -> NotAvailable:
        return NotAvailable(f"key provider {self._name}: native key providers are not built yet")

    async def create_key(self, operation_id: str) -> CreatedKey:
        raise self._not_built()

    async def fetch_keys(self, key_ids: Sequence[KeyId]) -> FetchedKeys:
        raise self._not_built()

    async def health(self) -> Mapping[str, tuple[str, ...]]:
        raise self._not_built()

    async def status(self, key_ids: Sequence[KeyId]) -> Mapping[KeyId, KeyUnavailableReason | None]:
        raise self._not_built()
