"""Native providers in vCenter: their stored key derivation keys, what hosts learn of them, exports
that wait for their download, and reminders of providers without a current backup, every 24 hours
(NKP-05).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

from protocol.crypto.derive import KDK_SIZE, check_value, derive_kek
from protocol.crypto.transfer import OneTimeKey
from protocol.errors import Busy, CryptographicFailure, InvalidArgument, InvalidState, NoPermission
from protocol.messages.host.session import HostSummary, ProviderRef
from protocol.releases import Feature, has, release_of
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, KeyId, ProviderHealth, ProviderId
from services.runtime.ports import Clock, Rng
from services.vcenter import events
from services.vcenter.inventory import Inventory, change_provider
from services.vcenter.knobs import VcenterNode
from services.vcenter.providers.stored_secrets import Symkey
from services.vcenter.tables import NativeConfig, ProviderRow

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


TOKEN_LIFETIME_S: Final = 600.0
_TOKEN_SIZE: Final = 32
_MOST: Final = 64  # pending ones at the same time


@dataclass(frozen=True)
class Export:
    """``until`` in monotonic lab seconds."""

    provider: ProviderId
    password: KeyMaterial
    until: float


class Exports:
    """Prepared exports and open transfers; the oldest give way to new ones."""

    def __init__(self, clock: Clock, rng: Rng) -> None:
        self._clock, self._rng = clock, rng
        self._exports: dict[str, Export] = {}
        self._transfers: dict[str, OneTimeKey] = {}

    def prepare(self, provider: ProviderId, password: KeyMaterial) -> tuple[str, float]:
        """A token, and when it expires (Unix time of vCenter's clock). ``Busy`` when too many
        others are pending."""
        self._drop_old()
        if len(self._exports) >= _MOST:
            raise Busy(f"{_MOST} exports wait for their download already")
        token = self._rng.token(_TOKEN_SIZE).hex()
        until = self._clock.monotonic() + TOKEN_LIFETIME_S
        self._exports[token] = Export(provider, password, until)
        return token, self._clock.now() + TOKEN_LIFETIME_S

    def take(self, token: str) -> Export:
        """Take the export of that token, once; ``NoPermission`` for an invalid token."""
        self._drop_old()
        found = self._exports.pop(token, None)
        if found is None:
            raise NoPermission("token: it is unknown, was used, or is too old")
        return found

    def open_transfer(self) -> tuple[str, bytes]:
        """The name of a new transfer, and the public key to seal to."""
        name, key = self._rng.token(16).hex(), OneTimeKey()
        self._transfers[name] = key
        while len(self._transfers) > _MOST:
            del self._transfers[next(iter(self._transfers))]
        return name, key.public

    def transfer(self, name: str) -> OneTimeKey:
        """Take the key of that transfer, which ends now; ``InvalidArgument`` when there is none."""
        key = self._transfers.pop(name, None)
        if key is None:
            raise InvalidArgument("transfer: there is none of that name (any more)")
        return key

    def _drop_old(self) -> None:
        now = self._clock.monotonic()
        self._exports = {t: e for t, e in self._exports.items() if e.until > now}


PERIOD_S: Final = 86_400.0
_LEAST_S: Final = 1.0


class BackupReminders:
    """Posts reminders from ``start`` on."""

    def __init__(self, node: VcenterNode, clock: Clock, inventory: Inventory) -> None:
        self._node, self._clock, self._inventory = node, clock, inventory

    def start(self) -> None:
        """Run in the background for the rest of the node's life."""
        self._node.background("backups", self._remind())

    async def _remind(self) -> None:
        while True:
            await self._clock.sleep(self._next_in_s())
            now = self._clock.now()
            due = [
                (row, native)
                for row, native in self._list_not_backed_up()
                if _due(native, now) <= 0.0
            ]
            edits = [
                change_provider(row.name, native=msgspec.structs.replace(native, told_at=now))
                for row, native in due
            ]
            drafts = [
                events.not_backed_up(row.name, after_update=native.backed_up) for row, native in due
            ]
            if drafts:
                await self._inventory.commit(*edits, events=drafts)

    def _list_not_backed_up(self) -> list[tuple[ProviderRow, NativeConfig]]:
        rows = self._inventory.providers.values()
        found = [(row, row.native) for row in rows if row.native is not None]
        return [(row, native) for row, native in found if not is_backed_up(native)]

    def _next_in_s(self) -> float:
        """Lab seconds until the first reminder is due; a provider added meanwhile is not due before
        one period."""
        now = self._clock.now()
        return max(
            _LEAST_S,
            min([PERIOD_S, *(_due(native, now) for _, native in self._list_not_backed_up())]),
        )


def _due(native: NativeConfig, now: float) -> float:
    """Seconds until the next reminder."""
    return native.told_at + PERIOD_S - now
