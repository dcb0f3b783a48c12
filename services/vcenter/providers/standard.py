"""The standard key provider: a named group of key servers that vCenter asks itself (STD-01).

STD-08: requests rotate over the servers, and go on to the next one until one answers; the provider
is down only when all are. A server that answers with an error has answered, except for refused
identities, which look as if it were down. An id that one server does not know is requested from the
others only when ``failover_on_missing`` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar
from uuid import NAMESPACE_DNS, uuid5

from msgspec import UNSET

from protocol.attributes import GRANTED_SCOPE
from protocol.errors import (
    Busy,
    CryptographicFailure,
    Disconnected,
    Internal,
    InvalidState,
    KeyProviderUnreachable,
    NoPermission,
    NotAvailable,
    NotConnected,
    NotSent,
    PermissionDenied,
    ProductError,
    Refused,
    ResponseTooLarge,
    TimedOut,
    TlsFailure,
    WrongKeyLifecycleState,
)
from protocol.kmip.dialect import PRODUCT, USE, Login
from protocol.messages.base import Request
from protocol.messages.kms.keys import (
    KEY_ATTRIBUTES_BYTES,
    Activate,
    AddAttribute,
    CreateKey,
    DiscoverVersions,
    GetAttributes,
    GetKeys,
    KeyValue,
    KeyValues,
    ServerVersions,
)
from protocol.messages.vcenter.providers import KmipServer
from protocol.pages import pages
from protocol.releases import LATEST, Release
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KeyType, KeyUnavailableReason, KmipState, ProviderId
from services.keyservers.address import Address
from services.keyservers.address import address_of as written
from services.keyservers.client import KeyServers, Tagging
from services.runtime.each import try_each
from services.vcenter.key_server_status import KeyServerContacts
from services.vcenter.providers.provider import CreatedKey, FetchedKeys, KeyUse, reason_of

R = TypeVar("R")

NO_ANSWER = (
    NotSent,
    Refused,
    ResponseTooLarge,
    TimedOut,
    TlsFailure,
    Disconnected,
    NotConnected,
    Busy,
    Internal,
    PermissionDenied,
    NoPermission,
)

OF_ONE_KEY = (CryptographicFailure, WrongKeyLifecycleState)
"""Errors about one key of a message, which say nothing about the others."""


DEFAULT_TIMEOUT: Final = -1
"""In a server's entry: the time-out is that of the knob (STD-01)."""


class StandardProvider:
    """See ``KeyProvider``. ``within_s``: lab seconds that a server has for an answer, unless its
    entry sets them. ``login``: user name and password beside the certificate; ``InvalidState`` when
    the password is lost."""

    def __init__(
        self,
        name: ProviderId,
        servers: tuple[KmipServer, ...],
        keyservers: KeyServers,
        contacts: KeyServerContacts,
        *,
        within_s: float,
        failover_on_missing: bool,
        login: Callable[[KmipServer], Login | None] = lambda server: None,
        release: Release = LATEST,
    ) -> None:
        self._name, self._servers = name, servers
        self._keyservers, self._contacts, self._within_s = keyservers, contacts, within_s
        self._addresses = {server.name: address_of(server) for server in servers}
        self._release, self._login = release, login
        self._failover_on_missing = failover_on_missing
        self._next = 0  # the server that is asked first
        self._retired = False

    def retire(self) -> None:
        self._retired = True

    async def create_key(self, operation_id: str, use: KeyUse | None = None) -> CreatedKey:
        made, server = await self._ask(
            CreateKey(operation_id=operation_id, activate=True, get=True),
            tags_of(self._release, use),
        )
        if made.material is None or made.state is not KmipState.ACTIVE:
            raise WrongKeyLifecycleState(
                f"{server.name}: the key made for this operation is now {made.state.value}"
            )
        return CreatedKey(made.key_id, made.material.keys[0])

    async def generate_key(self, operation_id: str, key_type: KeyType | None = None) -> KeyId:
        if key_type is KeyType.WRAPPED:
            raise NotAvailable(f"{self._name} makes no wrapped keys")
        made, _ = await self._ask(
            CreateKey(operation_id=operation_id, activate=False, get=False),
            tags_of(self._release, None),
        )
        return made.key_id

    async def make_key(self, operation_id: str) -> KeyId:
        made, server = await self._ask(
            CreateKey(operation_id=operation_id, activate=True, get=False),
            tags_of(self._release, None),
        )
        if made.state is not KmipState.ACTIVE:
            raise WrongKeyLifecycleState(
                f"{server.name}: the key made for this operation is now {made.state.value}"
            )
        return made.key_id

    async def grant_key(self, key_id: KeyId, scope: str) -> None:
        await self._ask(AddAttribute(key_id=key_id, name=GRANTED_SCOPE, value=scope))

    async def fetch_keys(self, key_ids: Sequence[KeyId]) -> FetchedKeys:
        material: dict[KeyId, KeyMaterial] = {}
        missing: dict[KeyId, KeyUnavailableReason] = {}
        await self._fetch(tuple(key_ids), material, missing)
        return FetchedKeys(material, missing)

    async def _fetch(
        self,
        key_ids: tuple[KeyId, ...],
        material: dict[KeyId, KeyMaterial],
        missing: dict[KeyId, KeyUnavailableReason],
    ) -> None:
        """Put usable values into ``material``, and reasons for the others into ``missing``.

        A server that fails at one key of many fails at the message: each half is then requested by
        itself, so that one key does not affect the others. A server that answers with another error
        counts as unusable and gives no keys.
        """
        try:
            reply, server = await self._ask(GetKeys(key_ids=key_ids))
        except KeyProviderUnreachable:
            raise
        except (*OF_ONE_KEY, ResponseTooLarge) as error:
            if len(key_ids) == 1:
                missing[key_ids[0]] = _not_given(error)
                return
            half = len(key_ids) // 2
            await self._fetch(key_ids[:half], material, missing)
            await self._fetch(key_ids[half:], material, missing)
            return
        except ProductError as error:
            missing.update(dict.fromkeys(key_ids, _not_given(error)))
            return
        missing.update(await self._sort(reply, server, material))
        if self._failover_on_missing:
            await self._ask_others(server, key_ids, material, missing)

    async def _ask_others(
        self,
        server: KmipServer,
        key_ids: tuple[KeyId, ...],
        material: dict[KeyId, KeyMaterial],
        missing: dict[KeyId, KeyUnavailableReason],
    ) -> None:
        """Request ids that ``server`` does not know from each of the others until one knows
        them."""
        for other in self._servers:
            unknown = tuple(
                k for k in key_ids if missing.get(k) is KeyUnavailableReason.MISSING_IN_KMS
            )
            if other == server or not unknown:
                continue
            try:
                reply = await self._ask_one(other, GetKeys(key_ids=unknown))
            except ProductError:
                continue
            missing.update(await self._sort(reply, other, material))
            for key in unknown:
                if key in material:
                    del missing[key]

    async def _sort(
        self, reply: KeyValues, server: KmipServer, material: dict[KeyId, KeyMaterial]
    ) -> dict[KeyId, KeyUnavailableReason]:
        """Put usable values into ``material``; returns the reasons for the others."""
        missing: dict[KeyId, KeyUnavailableReason] = {}
        for value in reply.values:
            reason = _unusable(value)
            if reason is None and value.state is KmipState.PRE_ACTIVE:
                reason = await self._activate(server, value.key_id)
            if reason is None and value.index is not None:
                material[value.key_id] = reply.material.keys[value.index]
            else:
                missing[value.key_id] = reason or KeyUnavailableReason.MISSING_IN_KMS
        return missing

    async def _activate(self, server: KmipServer, key_id: KeyId) -> KeyUnavailableReason | None:
        """STD-18: vSphere activates a Pre-Active key before it is used."""
        try:
            await self._ask_one(server, Activate(key_id=key_id))
        except NO_ANSWER:
            return KeyUnavailableReason.CLUSTER_UNREACHABLE
        except ProductError:
            return KeyUnavailableReason.NOT_ACTIVE_OR_ENABLED
        return None

    async def rotate(self) -> None:
        """It has no wrapping keys."""

    async def health(self) -> Mapping[str, tuple[str, ...]]:
        replies = await try_each(
            self._servers, lambda server: self._ask_one(server, DiscoverVersions()), name="health"
        )
        answers = {
            server.name: reply.versions
            for server, reply in zip(self._servers, replies, strict=True)
            if isinstance(reply, ServerVersions)
        }
        if not answers:
            self._all_failed()
        return answers

    async def status(self, key_ids: Sequence[KeyId]) -> Mapping[KeyId, KeyUnavailableReason | None]:
        found: dict[KeyId, KeyUnavailableReason | None] = {}
        for page in pages(key_ids, extra=KEY_ATTRIBUTES_BYTES):
            await self._look(tuple(page), found)
        return found

    async def _look(
        self, key_ids: tuple[KeyId, ...], found: dict[KeyId, KeyUnavailableReason | None]
    ) -> None:
        """Put the statuses of a page of keys into ``found``; a failing key does not affect the
        others."""
        try:
            reply, _ = await self._ask(GetAttributes(key_ids=key_ids))
        except ProductError as error:
            if isinstance(error, OF_ONE_KEY) and len(key_ids) > 1:
                half = len(key_ids) // 2
                await self._look(key_ids[:half], found)
                await self._look(key_ids[half:], found)
                return
            found.update(dict.fromkeys(key_ids, _not_given(error)))
            return
        found.update(dict.fromkeys(key_ids, KeyUnavailableReason.MISSING_IN_KMS))
        for key in reply.keys:
            found[key.key_id] = _status(key.state)

    # ---- servers ----------------------------------------------------------------------------

    async def _ask(self, message: Request[R], tags: Tagging = ()) -> tuple[R, KmipServer]:
        """Ask the servers in turn until one answers; ``KeyProviderUnreachable`` if none does."""
        first = self._next % max(1, len(self._servers))
        self._next += 1
        last = "it has no server"
        for server in (*self._servers[first:], *self._servers[:first]):
            try:
                return await self._ask_one(server, message, tags), server
            except NO_ANSWER as error:
                last = f"{server.name}: {error}"
        self._all_failed()
        raise KeyProviderUnreachable(f"no server of key provider {self._name} answers ({last})")

    def _all_failed(self) -> None:
        if not self._retired:
            self._contacts.all_failed(self._name)

    async def _ask_one(self, server: KmipServer, message: Request[R], tags: Tagging = ()) -> R:
        self._check_in_use()
        try:
            reply = await self._keyservers.request(
                self._addresses[server.name],
                message,
                within_s=self._limit_s(server),
                login=self._find_login(server),
                tags=tags,
            )
        except NO_ANSWER as error:
            self._check_in_use()
            await self._contacts.record_failure(self._name, server.name, str(error))
            raise
        except ProductError:
            await self._record_answer(server)
            raise
        await self._record_answer(server)
        return reply

    async def _record_answer(self, server: KmipServer) -> None:
        if not self._retired:
            await self._contacts.record_answer(self._name, server.name)

    def _check_in_use(self) -> None:
        """``KeyProviderUnreachable`` once this provider was retired."""
        if self._retired:
            raise KeyProviderUnreachable(
                f"key provider {self._name} was deleted, or has other servers now"
            )

    def _limit_s(self, server: KmipServer) -> float:
        if server.timeout is UNSET or server.timeout == DEFAULT_TIMEOUT:
            return self._within_s
        return float(server.timeout)

    def _find_login(self, server: KmipServer) -> Login | None:
        """An error at this end is not an answer of the server: ``NotSent``."""
        try:
            return self._login(server)
        except InvalidState as error:
            raise NotSent(str(error)) from None


def address_of(server: KmipServer) -> Address:
    """The address by which vCenter reaches it; ``InvalidArgument`` for an invalid one."""
    return written(server.node, server.address)


def _not_given(error: ProductError) -> KeyUnavailableReason:
    """The reason for a key that a server does not release or describe.

    A server that answers but cannot open the key, or whose hardware module refuses to (SC-09), is
    not repaired by waiting: the key has to be recovered there by hand, like a missing one. The
    provider is unreachable when no server answers (STD-20), or none accepts vCenter's identity.
    """
    if isinstance(error, KeyProviderUnreachable | WrongKeyLifecycleState):
        return reason_of(error)
    return KeyUnavailableReason.MISSING_IN_KMS


def _unusable(value: KeyValue) -> KeyUnavailableReason | None:
    """Why this key must not be used, by its state (STD-18, STD-19); None when it may be.

    A Pre-Active key without its value could not be activated.
    """
    if value.state is None:
        return KeyUnavailableReason.MISSING_IN_KMS
    if value.state is KmipState.PRE_ACTIVE and value.index is None:
        return KeyUnavailableReason.NOT_ACTIVE_OR_ENABLED
    return _state_reason(value.state)


def _status(state: KmipState) -> KeyUnavailableReason | None:
    """STD-20: a Pre-Active key is not active *yet*; it is activated at its first use."""
    if state is KmipState.PRE_ACTIVE:
        return KeyUnavailableReason.NOT_ACTIVE_OR_ENABLED
    return _state_reason(state)


def _state_reason(state: KmipState) -> KeyUnavailableReason | None:
    match state:
        case KmipState.ACTIVE | KmipState.PRE_ACTIVE:
            return None
        case KmipState.DEACTIVATED | KmipState.COMPROMISED:
            return KeyUnavailableReason.NOT_ACTIVE_OR_ENABLED
        case KmipState.DESTROYED | KmipState.DESTROYED_COMPROMISED:
            return KeyUnavailableReason.MISSING_IN_KMS


# ---- tags ----------------------------------------------------------------------------------------
# The attributes that vCenter adds to a new key at a KMIP server: two batches of custom attributes
# (STD-05). The first names the maker of the key, the second its purpose.

_BUILDS: Final = {
    Release(7, 0, 0): 15952498,
    Release(7, 0, 1): 16860138,
    Release(7, 0, 2): 17694817,
    Release(7, 0, 3): 18700403,
    Release(8, 0, 0): 20519528,
    Release(8, 0, 1): 21560480,
    Release(8, 0, 2): 22385739,
    Release(8, 0, 3): 24022515,
    Release(9, 0, 0): 24755230,
}
"""The build of vCenter Server in each release."""


def tags_of(release: Release, use: KeyUse | None) -> Tagging:
    """The batches; the second one only for a key whose ``use`` is known.

    vSphere names a VM or a host by its UUID too; here that is derived from its name, which is as
    unique.
    """
    version = f"{release.major}.{release.minor}.{release.update} build-{_BUILDS[release]}"
    product = tuple(zip(PRODUCT, (version, "VMware, Inc.", "VMware vSphere"), strict=True))
    if use is None:
        return (product,)
    identifier = str(uuid5(NAMESPACE_DNS, f"{use.component}/{use.name}"))
    return product, tuple(zip(USE, (identifier, use.component, use.name), strict=True))
