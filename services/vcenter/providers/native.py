"""Native providers in vCenter: their stored key derivation keys, and what hosts learn of them.

A KDK is in the inventory, wrapped under vCenter's own key (``symkey``), bound to its provider and
revision. It is opened to be pushed, exported, or to compute the check value of a host key, and
dropped afterwards.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Final

from protocol.crypto.native import KDK_SIZE, check_value, derive_kek
from protocol.errors import CryptographicFailure, InvalidArgument, InvalidState
from protocol.messages.host import HostSummary, ProviderRef
from protocol.releases import Feature, has, release_of
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, KeyId, ProviderHealth, ProviderId
from services.runtime.ports import Rng
from services.vcenter.keys.wrapped import NativeConfig
from services.vcenter.providers.symkey import Symkey
from services.vcenter.tables import ProviderRow

_REVISION_SIZE: Final = 8

NOT_BACKED_UP: Final = "com.vmware.vim.vpxd.encryption.keyProviderNotBackedUp"
NOT_BACKED_UP_AFTER_UPDATE: Final = (
    "com.vmware.vim.vpxd.encryption.keyProviderNotBackedUpAfterUpdate"
)
NOT_AVAILABLE: Final = "com.vmware.vim.vpxd.encryption.keyProviderNotAvailable"
NOT_ON_ALL_HOSTS: Final = "com.vmware.vim.vpxd.encryption.keyProviderNotOnAllHosts"


class NativeKeys:
    """Wraps and opens KDKs."""

    def __init__(self, symkey: Symkey, rng: Rng) -> None:
        self._symkey, self._rng = symkey, rng

    async def wrap_kdk(
        self, provider: ProviderId, key_id: str, kdk: KeyMaterial, *, tpm_required: bool
    ) -> NativeConfig:
        """The part of a row for this KDK, with a new revision.

        ``SaveFailed`` when the disk refuses vCenter's own key.
        """
        revision = self._rng.token(_REVISION_SIZE).hex()
        return NativeConfig(
            key_id=key_id,
            revision=revision,
            wrapped=await self._symkey.wrap(kdk, _aad(provider, revision)),
            tpm_required=tpm_required,
        )

    def new_kdk(self) -> tuple[str, KeyMaterial]:
        """A new KDK with a new id (UUID)."""
        key_id = str(uuid.UUID(bytes=self._rng.token(16), version=4))
        return key_id, KeyMaterial(self._rng.token(KDK_SIZE))

    def kdk(self, row: ProviderRow) -> KeyMaterial:
        """The KDK of a native provider; ``InvalidState`` when it does not open any more."""
        if row.native is None:
            raise InvalidArgument(f"{row.name} is no native provider")
        try:
            return self._symkey.unwrap(row.native.wrapped, _aad(row.name, row.native.revision))
        except CryptographicFailure as error:
            raise InvalidState(
                f"the key derivation key of {row.name} cannot be opened: {error}"
            ) from None

    def opens(self, row: ProviderRow) -> bool:
        """Whether its KDK can be opened."""
        try:
            self.kdk(row)
        except InvalidState:
            return False
        return True

    def new_key(self, row: ProviderRow) -> CryptoKeyId:
        """A key that hosts will derive: an unused id (NKP-14).

        ``InvalidState`` before the first backup (NKP-05).
        """
        check_backed_up(row)
        return CryptoKeyId(KeyId(self.new_kdk()[0]), row.name)

    def check(self, row: ProviderRow, key: CryptoKeyId) -> str:
        """The check value of a key of this provider; ``InvalidState`` as ``kdk``."""
        return check_value(derive_kek(self.kdk(row), key.key_id))


def is_backed_up(native: NativeConfig) -> bool:
    """Whether there is a backup of the provider in its present state."""
    return native.backed_up and not native.updated


def check_backed_up(row: ProviderRow) -> None:
    """``InvalidState`` for a native provider that was never exported (NKP-05)."""
    if row.native is not None and not row.native.backed_up:
        raise InvalidState(
            f"key provider {row.name} is not backed up: export it once before it is used"
        )


def is_known_on(row: ProviderRow, summary: HostSummary) -> bool:
    """Whether the host of that view gets the provider in its list: a host before 7.0 U2 knows no
    native ones."""
    return row.native is None or has(release_of(summary.version), Feature.NATIVE_ON_HOST)


def references(rows: Iterable[ProviderRow], summary: HostSummary) -> tuple[ProviderRef, ...]:
    """The whole list of providers for the host of that view."""
    return tuple(reference(row) for row in rows if is_known_on(row, summary))


def takes_kdk(row: ProviderRow, summary: HostSummary) -> bool:
    """Whether the host of that view gets a KDK of this provider (NKP-12)."""
    if row.native is None or not is_known_on(row, summary):
        return False
    return summary.tpm_present or not row.native.tpm_required


def is_on(summary: HostSummary, row: ProviderRow) -> bool:
    """Whether the host of that view has the native provider in its present state, with the KDK if
    it should have it."""
    if row.native is None or not is_known_on(row, summary):
        return True
    listed = reference(row) in summary.providers
    return listed and (row.name in summary.kdks or not takes_kdk(row, summary))


def reference(row: ProviderRow) -> ProviderRef:
    """A provider in the list for hosts, without its KDK."""
    native = row.native
    if native is None:
        return ProviderRef(provider_id=row.name, management_type=row.management_type)
    return ProviderRef(
        provider_id=row.name,
        management_type=row.management_type,
        key_id=native.key_id,
        revision=native.revision,
        tpm_required=native.tpm_required,
    )


def health(
    row: ProviderRow, *, opens: bool, everywhere: bool
) -> tuple[ProviderHealth, tuple[str, ...]]:
    """Health and detail ids (NKP-01). ``opens``: vCenter can open its KDK; ``everywhere``: every
    connected host has it. Pure."""
    native = row.native
    if native is None:
        return ProviderHealth.NONE, ()
    errors = [
        *(() if native.backed_up else (NOT_BACKED_UP,)),
        *(() if opens else (NOT_AVAILABLE,)),
    ]
    warnings = [
        *((NOT_BACKED_UP_AFTER_UPDATE,) if native.backed_up and native.updated else ()),
        *(() if everywhere else (NOT_ON_ALL_HOSTS,)),
    ]
    if errors:
        return ProviderHealth.ERROR, (*errors, *warnings)
    return (ProviderHealth.WARNING if warnings else ProviderHealth.OK), tuple(warnings)


def _aad(provider: ProviderId, revision: str) -> bytes:
    return f"keystead kdk|{provider}|{revision}".encode()
