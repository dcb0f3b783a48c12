"""The certificate of a Key Provider Service for KMIP servers, and how it asks them.

Its certificate and private key are one file of its own disk, created when they are first needed.
"""

from __future__ import annotations

import asyncio
from typing import Final

from protocol.errors import InvalidState, ProductError, SaveFailed
from protocol.messages.keyprovider import PeerCertificate
from protocol.trust import KeyServerRecord, TrustedKeyProvider
from services.keyprovider.knobs import KeyProviderNode
from services.keyservers.address import Kmip, address_of
from services.keyservers.client import KeyServers
from services.runtime import own_certificate
from services.runtime.own_certificate import EARLIER_S, OwnCertificate
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
        self._own = await own_certificate.load_own_certificate(self._ports.disk, FILE)

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
        own = own_certificate.create_own_certificate(
            ports.rng, ports.clock, self._node.name, days, earlier_s=EARLIER_S
        )
        try:
            await own_certificate.store_own_certificate(ports.disk, FILE, own)
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
