"""The providers of one vCenter: found by name, and asked for values of keys for one delivery.

Values of standard keys are kept for a while if the knob asks for it (C15, STD-15).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from protocol.errors import InvalidState, KeyProviderUnreachable, NotFound, ProductError
from protocol.messages.base import Request
from protocol.messages.host.session import HostSummary
from protocol.releases import Feature, Release, has
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, KeyUnavailableReason, ProviderId
from services.keyservers.address import Address, Kmip
from services.keyservers.client import KeyServers
from services.runtime.ports import Clock, Ports
from services.vcenter.inventory import Inventory
from services.vcenter.key_server_status import KeyServerContacts
from services.vcenter.key_use import keys_from_vcenter
from services.vcenter.knobs import VcenterNode
from services.vcenter.providers.capabilities import (
    CAPABILITIES,
    Capability,
    keys_not_available,
    of_provider,
)
from services.vcenter.providers.native import NativeKeys, takes_kdk
from services.vcenter.providers.provider import CreatedKey, KeyProvider, KeyUse
from services.vcenter.providers.standard import StandardProvider
from services.vcenter.providers.stored_secrets import ClientCertificates, Logins, Symkey
from services.vcenter.providers.wrapped_keys import WrappingPlace, WrappingProvider
from services.vcenter.tables import ProviderRow


class KeptValues:
    """The kept values by key, each with its end on the monotonic clock, in lab seconds."""

    def __init__(self, clock: Clock, for_s: float) -> None:
        self._clock, self._for_s = clock, for_s
        self._kept: dict[CryptoKeyId, tuple[float, KeyMaterial]] = {}

    def keep(self, values: Iterable[tuple[CryptoKeyId, KeyMaterial]]) -> None:
        """Keep these values from now on; no change at the default of the knob."""
        if not self._for_s:
            return
        until, was_empty = self._clock.monotonic() + self._for_s, not self._kept
        for key, value in values:
            self._kept.pop(key, None)  # the order is that of their ends
            self._kept[key] = until, value
        if was_empty and self._kept:
            self._wait()

    def among(self, keys: Iterable[CryptoKeyId]) -> dict[CryptoKeyId, KeyMaterial]:
        """Those of ``keys`` that are kept now."""
        if not self._kept:
            return {}
        self._drop()
        return {key: self._kept[key][1] for key in keys if key in self._kept}

    def forget(self, keys: Iterable[CryptoKeyId]) -> None:
        """vCenter was told to forget these keys."""
        for key in keys:
            self._kept.pop(key, None)

    def forget_all_of(self, provider: ProviderId) -> None:
        """The provider was deleted, or has other servers."""
        self.forget([key for key in self._kept if key.provider_id == provider])

    def _drop(self) -> None:
        """Drop the values whose time is over."""
        now = self._clock.monotonic()
        for key in [key for key, (until, _) in self._kept.items() if until <= now]:
            del self._kept[key]

    def _wait(self) -> None:
        first = next(iter(self._kept.values()))[0]
        self._clock.alarm(max(0.0, first - self._clock.monotonic()), self._at_the_end)

    def _at_the_end(self) -> None:
        self._drop()
        if self._kept:
            self._wait()


R = TypeVar("R")


@dataclass(frozen=True)
class KeyBundle:
    """Keys of one provider with their values, and the reasons for those without."""

    values: tuple[tuple[CryptoKeyId, KeyMaterial], ...]
    denied: Mapping[CryptoKeyId, KeyUnavailableReason]


class _Made(NamedTuple):
    """A provider object built from ``row``, and the client of its servers."""

    row: ProviderRow
    keyservers: KeyServers
    provider: KeyProvider


class ProviderRegistry:
    """Finds a provider by name; one object per provider, rebuilt when its servers change."""

    def __init__(
        self,
        node: VcenterNode,
        ports: Ports,
        inventory: Inventory,
        contacts: KeyServerContacts,
        symkey: Symkey,
        release: Release,
    ) -> None:
        self.native = NativeKeys(symkey, ports.rng)
        days = node.knobs.kmip_certificate_days
        self.certificates = ClientCertificates(symkey, ports.rng, ports.clock, node.name, days)
        self.logins = Logins(symkey)
        self._kept = KeptValues(ports.clock, node.knobs.vc_key_cache_s)
        self._inventory, self._ports, self._release = inventory, ports, release
        self._contacts, self._node, self._knobs = contacts, node, node.knobs
        self._made: dict[ProviderId, _Made] = {}

    def capability(self, provider: ProviderId) -> Capability:
        """The capabilities of that provider; ``NO_PROVIDER`` when there is none of that name."""
        return of_provider(self._inventory.management_types(), provider)

    def derives(self, provider: ProviderId) -> ProviderRow | None:
        """The native provider of that name; None when there is none, or it is of another type."""
        row = self._inventory.providers.get(provider)
        return None if row is None or row.native is None else row

    def lacks_kdk(self, summary: HostSummary) -> bool:
        """Whether the host of that view lacks a KDK that it can be given now."""
        return any(
            row.name not in summary.kdks and self.native.opens(row)
            for row in self._inventory.providers.values()
            if takes_kdk(row, summary)
        )

    def kdks_for(self, summary: HostSummary) -> dict[ProviderId, KeyMaterial]:
        """The KDKs for the host of that view (NKP-02, NKP-12).

        A KDK that cannot be opened here is left out: hosts keep what they have of it.
        """
        found = {}
        for row in self._inventory.providers.values():
            if takes_kdk(row, summary):
                with suppress(InvalidState):
                    found[row.name] = self.native.kdk(row)
        return found

    def require_provider(self, provider: ProviderId) -> KeyProvider:
        """The provider object for requests of keys.

        ``NotFound`` when there is none of that name, ``NotAvailable`` when vCenter has nothing to
        ask of providers of its type.
        """
        row = self._inventory.providers.get(provider)
        if row is None:
            raise NotFound(f"there is no key provider {provider}")
        if not CAPABILITIES[row.management_type].pushed:
            raise keys_not_available(row.name, row.management_type)
        made = self._made.get(provider)
        if made is None or made.row.servers != row.servers:
            self.forget(provider)
            keyservers = self._keyservers(provider)
            made = _Made(row, keyservers, self._standard(row, keyservers))
        elif _credentials_of(made.row) != _credentials_of(row):
            made.keyservers.close()  # connections with the earlier identity or trust end
            made = made._replace(row=row)
        self._made[provider] = made
        return made.provider

    def forget(self, provider: ProviderId) -> None:
        """The provider was deleted, or has other servers: drop everything of it from memory."""
        made = self._made.pop(provider, None)
        if made is not None:
            made.provider.retire()
            made.keyservers.close()
        self._kept.forget_all_of(provider)

    def _row(self, provider: ProviderId) -> ProviderRow:
        """The present row, for a connection that is opened long after the request.

        ``InvalidState`` when the provider was deleted meanwhile.
        """
        row = self._inventory.providers.get(provider)
        if row is None:
            raise InvalidState(f"key provider {provider} was deleted")
        return row

    def _is_current(self, provider: ProviderId, key_provider: KeyProvider) -> bool:
        """Whether ``key_provider`` is still the provider's object. It is not when the provider was
        deleted or got other servers."""
        made, row = self._made.get(provider), self._inventory.providers.get(provider)
        return (
            made is not None
            and made.provider is key_provider
            and row is not None
            and row.servers == made.row.servers
        )

    def _standard(self, row: ProviderRow, keyservers: KeyServers) -> KeyProvider:
        found = self._raw(row, keyservers)
        if not has(self._release, Feature.WRAPPED_KEYS):
            return found
        default_days = self._knobs.wrapping_key_rotation_days
        place = WrappingPlace(row.name, self._node.name, self._inventory, default_days)
        return WrappingProvider(found, place, self._ports)

    def _raw(self, row: ProviderRow, keyservers: KeyServers) -> StandardProvider:
        return StandardProvider(
            row.name,
            row.servers,
            keyservers,
            self._contacts,
            within_s=self._knobs.request_timeout_s,
            failover_on_missing=self._knobs.failover_on_missing,
            login=lambda one: self.logins.login(self._row(row.name), one),
            release=self._release,
        )

    async def ask_server(self, provider: ProviderId, to: Address, message: Request[R]) -> R:
        """Send a request to one server of a provider, without effect on its health; see
        ``KeyServers``."""
        within_s = self._knobs.request_timeout_s
        keyservers = self._keyservers(provider)
        try:
            return await keyservers.request(to, message, within_s=within_s)
        finally:
            keyservers.close()

    async def server_certificate(self, provider: ProviderId, to: Kmip) -> bytes:
        """The certificate (DER) of a server; raises as ``KeyServers.request``."""
        within_s = self._knobs.request_timeout_s
        return await self._keyservers(provider).certificate(to, within_s=within_s)

    def _keyservers(self, provider: ProviderId) -> KeyServers:
        """The client of its servers; it presents the row's present identity."""
        ports = self._ports
        return KeyServers(
            ports.bus,
            ports.streams,
            ports.clock,
            lambda: self.certificates.identity(self._row(provider)),
            pooled=self._knobs.kmip_connection == "pooled",
        )

    async def create_key(
        self, provider: ProviderId, operation_id: str, use: KeyUse | None = None
    ) -> CreatedKey:
        """A new key of that provider, with its value; see ``require_provider`` and
        ``KeyProvider``."""
        key_provider = self.require_provider(provider)
        made = await key_provider.create_key(operation_id, use)
        if self._is_current(provider, key_provider):
            self._kept.keep([(CryptoKeyId(made.key_id, provider), made.material)])
        return made

    async def grant(self, keys: Iterable[CryptoKeyId], scope: str) -> None:
        """Let another scope of their key servers get these keys, as far as the servers allow it.
        Errors show when the keys are needed there."""
        for key in keys_from_vcenter(keys, self._inventory.lock_types()):
            try:
                await self.require_provider(key.provider_id).grant_key(key.key_id, scope)
            except ProductError as error:
                self._node.record(
                    "keys.not_granted", level="warning", key=str(key), reason=str(error)
                )

    async def fetch(
        self, provider: ProviderId, keys: Sequence[CryptoKeyId], *, fresh: bool
    ) -> KeyBundle:
        """Values of ``keys`` (one provider's, at most 256); never raises for missing ones.

        ``fresh``: ask in any case. Otherwise a provider that has just been silent on all its
        servers is not asked again so soon. Kept values (``vc_key_cache_s``) are not requested, nor
        are keys that vCenter was told to forget. A provider that was deleted during the request, or
        has other servers now, is looked up again. ``NotAvailable`` when vCenter has no values of
        providers of that type.
        """
        forgotten = [key for key in keys if self._inventory.is_forgotten(key)]
        self._kept.forget(forgotten)
        wanted = [key for key in keys if key not in forgotten] if forgotten else keys
        bundle = await self._fetch(provider, wanted, fresh=fresh)
        missing = dict.fromkeys(forgotten, KeyUnavailableReason.MISSING_IN_CACHE)
        return KeyBundle(bundle.values, {**bundle.denied, **missing})

    async def _fetch(
        self, provider: ProviderId, keys: Sequence[CryptoKeyId], *, fresh: bool
    ) -> KeyBundle:
        if not keys:
            return KeyBundle((), {})
        try:
            found = self.require_provider(provider)
        except NotFound:
            return _all(keys, KeyUnavailableReason.CLUSTER_INVALID)
        kept = self._kept.among(keys)
        if kept:
            rest = await self._ask(found, [key for key in keys if key not in kept], fresh=fresh)
            return KeyBundle((*kept.items(), *rest.values), rest.denied)
        return await self._ask(found, keys, fresh=fresh)

    async def _ask(
        self, found: KeyProvider, keys: Sequence[CryptoKeyId], *, fresh: bool
    ) -> KeyBundle:
        """Ask the key servers; ``keys`` are of one provider."""
        if not keys:
            return KeyBundle((), {})
        provider = keys[0].provider_id
        if not fresh and self._contacts.just_failed(provider, self._knobs.request_timeout_s):
            return _all(keys, KeyUnavailableReason.CLUSTER_UNREACHABLE)
        try:
            fetched = await found.fetch_keys([key.key_id for key in keys])
        except KeyProviderUnreachable:
            fetched = None
        if not self._is_current(provider, found):
            return await self._fetch(provider, keys, fresh=fresh)
        if fetched is None:
            return _all(keys, KeyUnavailableReason.CLUSTER_UNREACHABLE)
        missing = KeyUnavailableReason.MISSING_IN_KMS
        values = tuple(
            (k, fetched.material[k.key_id]) for k in keys if k.key_id in fetched.material
        )
        self._kept.keep(values)
        return KeyBundle(
            values,
            {
                k: fetched.missing.get(k.key_id, missing)
                for k in keys
                if k.key_id not in fetched.material
            },
        )


def _credentials_of(row: ProviderRow) -> tuple[object, ...]:
    """The client's credentials for the servers, and the certificates trusted for them."""
    return row.client, row.trusted, row.passwords


def _all(keys: Sequence[CryptoKeyId], reason: KeyUnavailableReason) -> KeyBundle:
    return KeyBundle((), dict.fromkeys(keys, reason))
