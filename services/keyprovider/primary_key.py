"""The primary key of a provider, from the first of its key servers that gives it (KPS-03, KPS-06),
and the certificate with which this service asks KMIP servers.
"""

from __future__ import annotations

import asyncio
from typing import Final

from protocol.errors import (
    Busy,
    CryptographicFailure,
    Disconnected,
    GeneralFailure,
    Internal,
    InvalidState,
    ItemNotFound,
    KeyProviderUnreachable,
    NotSent,
    PermissionDenied,
    ProductError,
    Refused,
    SaveFailed,
    TimedOut,
    TlsFailure,
    WrongKeyLifecycleState,
)
from protocol.messages.keyprovider import KeyServerStatus, PeerCertificate, TrustedKeyProviderHealth
from protocol.messages.kms.keys import GetKeys
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KmipState, NodeName, ProviderHealth
from protocol.trust import KeyServerRecord, TrustedKeyProvider
from services.keyprovider.knobs import KeyProviderNode
from services.keyservers.address import Kmip, address_of
from services.keyservers.client import KeyServers, by_the_server
from services.runtime import node_certificates
from services.runtime.node_certificates import EARLIER_S, OwnCertificate
from services.runtime.ports import Ports
from services.runtime.streams import TlsIdentity

FILE: Final = "kmip-identity"


class OwnIdentity:
    """The identity of one life of the service at key servers; ``load`` first."""

    def __init__(self, node: KeyProviderNode, ports: Ports) -> None:
        self._node, self._ports = node, ports
        self._own: OwnCertificate | None = None
        self._making = asyncio.Lock()

    async def load(self) -> None:
        """Read the file, if there is one; ``OSError`` when it is damaged."""
        self._own = await node_certificates.load_own_certificate(self._ports.disk, FILE)

    @property
    def certificate(self) -> bytes:
        """The certificate (DER); empty when none was created yet."""
        return b"" if self._own is None else self._own.certificate

    async def ensure_certificate(self, *, renew: bool = False) -> OwnCertificate:
        """The certificate, durable on return; created when there is none, or replaced (``renew``).
        ``SaveFailed``."""
        async with self._making:
            if self._own is None or renew:
                self._own = await self._create_certificate()
                self._node.record("keyprovider.certificate", renewed=renew)
            return self._own

    async def _create_certificate(self) -> OwnCertificate:
        ports, days = self._ports, self._node.knobs.kmip_certificate_days
        own = node_certificates.create_own_certificate(
            ports.rng, ports.clock, self._node.name, days, earlier_s=EARLIER_S
        )
        try:
            await node_certificates.store_own_certificate(ports.disk, FILE, own)
        except OSError as error:
            raise SaveFailed(f"its certificate: {error.strerror or error}") from None
        return own

    def client_for(self, server: KeyServerRecord) -> KeyServers:
        """How that server is asked: only its own certificates are trusted."""

        def identity() -> TlsIdentity:
            if self._own is None:
                raise InvalidState(f"{self._node.name} has no certificate for key servers")
            return TlsIdentity((self._own.certificate,), self._own.key, server.certificates)

        ports = self._ports
        return KeyServers(ports.bus, ports.streams, ports.clock, identity, activates=False)

    async def peers(self, provider: TrustedKeyProvider) -> tuple[PeerCertificate, ...]:
        """The certificates that the provider's KMIP servers present now."""
        found = []
        for server in provider.servers:
            to = address_of(server.node, server.address)
            if isinstance(to, Kmip):
                found.append(await self._peer(server, to))
        return tuple(found)

    async def _peer(self, server: KeyServerRecord, to: Kmip) -> PeerCertificate:
        within_s = self._node.knobs.primary_key_timeout_s
        try:
            await self.ensure_certificate()
            certificate = await self.client_for(server).certificate(to, within_s=within_s)
        except ProductError as error:
            return PeerCertificate(node=server.node, reason=f"{type(error).__name__}: {error}")
        return PeerCertificate(node=server.node, certificate=certificate)


NEXT: Final = (
    NotSent,
    Refused,
    TimedOut,
    Disconnected,
    Busy,
    Internal,
    GeneralFailure,
    PermissionDenied,
    TlsFailure,
    CryptographicFailure,
)
"""Errors after which the next key server is asked."""
TO_WRAP: Final = frozenset({KmipState.ACTIVE})
TO_OPEN: Final = frozenset({KmipState.ACTIVE, KmipState.DEACTIVATED})


class PrimaryKeys:
    """Gets primary keys for this life of the service."""

    def __init__(self, node: KeyProviderNode, own: OwnIdentity) -> None:
        self._node, self._own = node, own
        self._kept: dict[tuple[str, KeyId], tuple[KeyMaterial, KmipState]] = {}
        self._good: dict[str, NodeName] = {}  # by provider: the server that gave its key last
        self._configuration = 0  # how often it was changed in this life

    def forget(self) -> None:
        """Forget kept keys and servers: they belong to an earlier configuration, and so do answers
        still to come."""
        self._configuration += 1
        self._kept.clear()
        self._good.clear()

    async def key(
        self, provider: TrustedKeyProvider, key_id: KeyId, usable: frozenset[KmipState]
    ) -> KeyMaterial:
        """The key of that id, in a state in which it is ``usable``.

        ``KeyProviderUnreachable`` when no trusted key server answers; ``ItemNotFound`` or
        ``WrongKeyLifecycleState`` when one answers so.
        """
        place = provider.provider, key_id
        kept = self._kept.get(place)
        if kept is not None and kept[1] in usable:
            return kept[0]
        why, configuration = "none of its key servers is trusted", self._configuration
        for server in self._in_turn(provider):
            try:
                found, state = await self._ask(server, key_id, usable)
            except NEXT as error:
                why = f"{server.node}: {type(error).__name__}"
                self._node.record(
                    "keyprovider.server_failed",
                    level="warning",
                    server=server.node,
                    error=type(error).__name__,
                )
                continue
            if self._configuration != configuration:
                return found
            self._good[provider.provider] = server.node
            if self._node.knobs.kps_primary_key_cache:
                self._kept[place] = found, state
            return found
        raise KeyProviderUnreachable(
            f"the primary key of {provider.provider} is not available: {why}"
        )

    async def health(self, provider: TrustedKeyProvider) -> TrustedKeyProviderHealth:
        """The answer of each key server about the primary key now; kept keys do not count."""
        servers = [
            await self._status(server, provider.primary_key_id) for server in provider.servers
        ]
        good = sum(status.health is ProviderHealth.OK for status in servers)
        if good == len(servers):
            health = ProviderHealth.OK
        else:
            health = ProviderHealth.WARNING if good else ProviderHealth.ERROR
        return TrustedKeyProviderHealth(
            provider=provider.provider, health=health, servers=tuple(servers)
        )

    def _in_turn(self, provider: TrustedKeyProvider) -> list[KeyServerRecord]:
        """The trusted servers in their order, but the one that gave the key last comes first."""
        first = self._good.get(provider.provider)
        trusted = [server for server in provider.servers if server.trusted]
        return sorted(trusted, key=lambda server: server.node != first)

    async def _ask(
        self, server: KeyServerRecord, key_id: KeyId, usable: frozenset[KmipState]
    ) -> tuple[KeyMaterial, KmipState]:
        """The key, and the state in which the server has it."""
        to = address_of(server.node, server.address)
        if isinstance(to, Kmip):
            await self._own.ensure_certificate()
        answer = await self._own.client_for(server).request(
            to, GetKeys(key_ids=(key_id,)), within_s=self._node.knobs.primary_key_timeout_s
        )
        found = answer.values[0] if answer.values else None
        if found is None or found.state is None or found.index is None:
            raise ItemNotFound(f"the primary key {key_id} is not at {server.node}")
        if found.state not in usable:
            raise WrongKeyLifecycleState(f"the primary key {key_id} is {found.state.value}")
        return answer.material.keys[found.index], found.state

    async def _status(self, server: KeyServerRecord, key_id: KeyId) -> KeyServerStatus:
        takes: bool | None = None
        trusts = server.trusted
        reason = "" if trusts else "its identity was not marked as trusted"
        if server.trusted:
            try:
                await self._ask(server, key_id, TO_WRAP)
                takes = True
            except PermissionDenied as error:
                takes, reason = False, str(error)
            except TlsFailure as error:
                trusts = by_the_server(error)
                takes, reason = (False if trusts else None), str(error)
            except (ItemNotFound, WrongKeyLifecycleState) as error:
                takes, reason = True, str(error)
            except ProductError as error:
                reason = f"{type(error).__name__}: {error}"
        return KeyServerStatus(
            node=server.node,
            health=ProviderHealth.ERROR if reason else ProviderHealth.OK,
            client_trust_server=trusts,
            server_trust_client=takes,
            reason=reason,
        )
