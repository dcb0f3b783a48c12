"""The trusted key provider (vSphere Trust Authority, TA rules): fits the protocol, not built.

vCenter holds a reference and service descriptors, no keys: hosts attest and ask the Key
Provider Service themselves, so most of the protocol has nothing to give even when built (R41).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from protocol.errors import NotAvailable
from protocol.terms import KeyId, KeyUnavailableReason, ProviderId
from services.vcenter.providers.terms import CreatedKey, FetchedKeys


class TrustedProvider:
    """See ``KeyProvider``; every method raises ``NotAvailable``."""

    def __init__(self, name: ProviderId) -> None:
        self._name = name

    def _not_built(self) -> NotAvailable:
        return NotAvailable(
            f"key provider {self._name}: trusted (Trust Authority) key providers are not built yet"
        )

    async def create_key(self, operation_id: str) -> CreatedKey:
        raise self._not_built()

    async def fetch_keys(self, key_ids: Sequence[KeyId]) -> FetchedKeys:
        raise self._not_built()

    async def health(self) -> Mapping[str, tuple[str, ...]]:
        raise self._not_built()

    async def status(self, key_ids: Sequence[KeyId]) -> Mapping[KeyId, KeyUnavailableReason | None]:
        raise self._not_built()
