"""Key providers behind one protocol; a management type is one file here.

- ``standard``  KMIP servers that vCenter asks itself (STD rules): built
- ``terms``     what a provider hands back
- ``trusted``   Trust Authority (TA rules): not built    - ``native`` (NKP rules): not built
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, assert_never

from protocol.errors import KeyProviderUnreachable, NotAvailable
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, KeyId, KeyUnavailableReason, ManagementType, ProviderId
from services.runtime.ports import Bus
from services.vcenter.health import Contacts
from services.vcenter.inventory import Inventory
from services.vcenter.knobs import VcenterKnobs
from services.vcenter.providers.native import NativeProvider
from services.vcenter.providers.standard import StandardProvider
from services.vcenter.providers.terms import CreatedKey, FetchedKeys
from services.vcenter.providers.trusted import TrustedProvider
from services.vcenter.rows import ProviderRow

__all__ = ["CreatedKey", "FetchedKeys", "KeyProvider", "Providers"]


class KeyProvider(Protocol):
    """What vCenter asks of any provider.

    ``KeyProviderUnreachable`` when no server of it answers; ``NotAvailable`` when this kind of
    provider does not give vCenter keys, or is not built.
    """

    async def create_key(self, operation_id: str) -> CreatedKey:
        """A new, active key; the same one at each repeat of ``operation_id``."""
        ...

    async def fetch_keys(self, key_ids: Sequence[KeyId]) -> FetchedKeys:
        """Values of up to 256 keys, for one push, and why the others cannot be had."""
        ...

    async def health(self) -> Mapping[str, tuple[str, ...]]:
        """Ask every server one harmless question; versions of those that answered, by name."""
        ...

    async def status(self, key_ids: Sequence[KeyId]) -> Mapping[KeyId, KeyUnavailableReason | None]:
        """Why each key is not available, None when it is (STD-20)."""
        ...


@dataclass(frozen=True)
class Bundle:
    """Keys of one provider with their values, and the reasons for those without."""

    values: tuple[tuple[CryptoKeyId, KeyMaterial], ...]
    denied: Mapping[CryptoKeyId, KeyUnavailableReason]


class Providers:
    """Finds a provider by name; one object per provider, made anew when its servers change."""

    def __init__(
        self, inventory: Inventory, bus: Bus, contacts: Contacts, knobs: VcenterKnobs
    ) -> None:
        self._inventory, self._bus = inventory, bus
        self._contacts, self._knobs = contacts, knobs
        self._made: dict[ProviderId, tuple[ProviderRow, KeyProvider]] = {}

    def find(self, provider: ProviderId) -> KeyProvider | None:
        """The provider of that name; None when there is none (KeyStateClusterInvalid)."""
        row = self._inventory.providers.get(provider)
        if row is None:
            self._made.pop(provider, None)
            return None
        made = self._made.get(provider)
        if made is None or made[0].servers != row.servers:
            made = self._made[provider] = (row, self._make(row))
        return made[1]

    def _make(self, row: ProviderRow) -> KeyProvider:
        match row.management_type:
            case ManagementType.VCENTER:
                return StandardProvider(
                    row.name,
                    row.servers,
                    self._bus,
                    self._contacts,
                    within=self._knobs.request_timeout_s,
                    failover_on_missing=self._knobs.failover_on_missing,
                )
            case ManagementType.TRUST_AUTHORITY:
                return TrustedProvider(row.name)
            case ManagementType.NATIVE_PROVIDER:
                return NativeProvider(row.name)
            case ManagementType.UNKNOWN:
                raise NotAvailable(f"{row.name}: a provider of unknown management type")
            case _:
                assert_never(row.management_type)

    async def fetch(
        self, provider: ProviderId, keys: Sequence[CryptoKeyId], *, fresh: bool
    ) -> Bundle:
        """Values of ``keys`` (one provider's, at most 256); never raises for lack of them.

        ``fresh``: ask in any case. Without it a provider that has just been silent on all its
        servers is not asked again so soon.
        """
        found = self.find(provider)
        if found is None:
            return _all(keys, KeyUnavailableReason.CLUSTER_INVALID)
        if not fresh and self._contacts.just_failed(provider, self._knobs.request_timeout_s):
            return _all(keys, KeyUnavailableReason.CLUSTER_UNREACHABLE)
        try:
            fetched = await found.fetch_keys([key.key_id for key in keys])
        except KeyProviderUnreachable:
            return _all(keys, KeyUnavailableReason.CLUSTER_UNREACHABLE)
        except NotAvailable:
            return _all(keys, KeyUnavailableReason.CLUSTER_INVALID)
        missing = KeyUnavailableReason.MISSING_IN_KMS
        return Bundle(
            tuple((k, fetched.material[k.key_id]) for k in keys if k.key_id in fetched.material),
            {
                k: fetched.missing.get(k.key_id, missing)
                for k in keys
                if k.key_id not in fetched.material
            },
        )


def _all(keys: Sequence[CryptoKeyId], reason: KeyUnavailableReason) -> Bundle:
    return Bundle((), dict.fromkeys(keys, reason))
