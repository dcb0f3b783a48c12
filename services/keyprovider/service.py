"""The Key Provider Service's handlers: a key for a token.

1. check the token   2. find the provider   3. fetch its primary key from a key server
4. make and wrap a key, or unwrap one   5. answer; nothing of it is kept.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from protocol.crypto.tokens import Signer
from protocol.errors import (
    InvalidArgument,
    NoPermission,
    NotFound,
    ProductError,
    Unauthenticated,
)
from protocol.messages import keyprovider as m
from protocol.messages.base import Request, Sealed
from protocol.printable import quote_if_needed
from protocol.secret import KeyMaterial
from protocol.terms import ProviderId, Role
from protocol.trust import ItemDigest, TrustedKeyProvider, item
from services.keyprovider import ciphertext as wrapping
from services.keyprovider import configuration
from services.keyprovider.access import admit, authorize
from services.keyprovider.config import KeyProviderServiceConfig
from services.keyprovider.configuration import check
from services.keyprovider.knobs import KeyProviderNode
from services.keyprovider.primary_key import TO_OPEN, TO_WRAP, OwnIdentity, PrimaryKeys
from services.runtime.node_certificates import load_signer
from services.runtime.ports import Ports
from services.runtime.service import Halted, Peer, Service, serves

_STATUS: Final[dict[type[ProductError], int]] = {
    InvalidArgument: 400,
    Unauthenticated: 401,
    NoPermission: 403,
    NotFound: 404,
}
NONCE_SIZE: Final = 12


class KeyProviderService(Service):
    """One Key Provider Service (``NodeSpec.config`` as ``KeyProviderServiceConfig``)."""

    role: ClassVar[Role] = Role.KEYPROVIDER
    node: KeyProviderNode
    signer: Signer
    configuration: m.KeyProviderConfiguration | None

    def __init__(
        self, node: KeyProviderNode, ports: Ports, config: KeyProviderServiceConfig
    ) -> None:
        super().__init__(node, ports)
        self.config = config
        self.own = OwnIdentity(node, ports)
        self.primary = PrimaryKeys(node, self.own)

    async def start(self) -> None:
        """Read the store; ``Halted`` when it is damaged."""
        try:
            self.signer = await load_signer(self.disk, self.rng, self.clock, self.node.name)
            self.configuration = await configuration.load(self.disk)
            await self.own.load()
        except OSError as error:
            reason = error.strerror or error
            raise Halted(
                f"Key Provider Service {self.node.name} does not serve: {reason}"
            ) from None

    def accept(self, message: Request[Any], peer: Peer) -> None:
        """See ``access``."""
        admit(message, peer.node, self.config.vcenter, local=peer.local)

    # ---- hosts ------------------------------------------------------------------------------

    @serves(m.GenerateWrappedKey)
    async def generate(self, message: m.GenerateWrappedKey, peer: Peer) -> m.WrappedKeyGenerated:
        """A new key under the present primary key, which must be Active."""
        provider = self._authorize(message.token, message.provider, peer)
        if message.num_of_bytes != m.KEY_SIZE:
            raise self._record_refusal(
                peer, InvalidArgument(f"num_of_bytes: keys have {m.KEY_SIZE} bytes")
            )
        key_id = provider.primary_key_id
        primary = await self._primary(provider, peer, wraps=True)
        secret = KeyMaterial(self.rng.token(message.num_of_bytes))
        nonce = self.rng.token(NONCE_SIZE)
        ciphertext = wrapping.close(primary, provider.provider, key_id, secret, nonce)
        self.node.record("keyprovider.generated", host=peer.node, provider=provider.provider)
        return m.WrappedKeyGenerated(ciphertext=ciphertext, plaintext=Sealed.of(secret))

    @serves(m.DecryptWrappedKey)
    async def decrypt(self, message: m.DecryptWrappedKey, peer: Peer) -> m.WrappedKeyDecrypted:
        """The key in a ciphertext, under the primary key that the ciphertext names."""
        provider = self._authorize(message.token, message.provider, peer)
        try:
            found = wrapping.take_apart(message.ciphertext)
        except InvalidArgument as error:
            raise self._record_refusal(peer, error) from None
        primary = await self._primary(provider, peer, wraps=False, found=found)
        try:
            secret = wrapping.open_(primary, provider.provider, found)
        except InvalidArgument as error:
            raise self._record_refusal(peer, error) from None
        self.node.record("keyprovider.decrypted", host=peer.node, provider=provider.provider)
        return m.WrappedKeyDecrypted(plaintext=Sealed.of(secret))

    def _authorize(self, token: bytes, name: ProviderId, peer: Peer) -> TrustedKeyProvider:
        """The provider, for a host that may have its keys. The token is checked first: a host
        without one does not learn which providers exist."""
        try:
            now = self.configuration
            if now is None:
                raise Unauthenticated(f"{self.node.name} is not configured")
            authorize(
                token,
                peer.node,
                now,
                now=self.clock.now(),
                leeway_s=self.node.knobs.token_leeway_s,
            )
            return self._provider(name)
        except ProductError as error:
            raise self._record_refusal(peer, error) from None

    async def _primary(
        self,
        provider: TrustedKeyProvider,
        peer: Peer,
        *,
        wraps: bool,
        found: wrapping.Ciphertext | None = None,
    ) -> KeyMaterial:
        key_id = provider.primary_key_id if found is None else found.primary_key_id
        try:
            return await self.primary.key(provider, key_id, TO_WRAP if wraps else TO_OPEN)
        except ProductError as error:
            raise self._record_refusal(peer, error) from None

    def _record_refusal(self, peer: Peer, error: ProductError) -> ProductError:
        status = _STATUS.get(type(error), 500)
        self.node.record(
            "keyprovider.refused",
            level="warning",
            host=peer.node,
            status=status,
            reason=str(error),
        )
        return error

    # ---- the Trust Authority vCenter ---------------------------------------------------------

    @serves(m.SetKeyProviderConfiguration, turn=lambda _: "configuration")
    async def configure(
        self, message: m.SetKeyProviderConfiguration, peer: Peer
    ) -> m.KeyProviderConfigured:
        """Replace the whole configuration, and forget kept primary keys."""
        new = message.configuration
        check(new)
        await configuration.save(self.disk, new)
        self.configuration = new
        self.primary.forget()
        self.node.record("keyprovider.configured", revision=new.revision)
        return m.KeyProviderConfigured(revision=new.revision)

    @serves(m.QueryKeyProviderConfiguration)
    async def query_configuration(
        self, message: m.QueryKeyProviderConfiguration, peer: Peer
    ) -> m.KeyProviderConfigurationState:
        """The configuration in force, as digests."""
        now = self.configuration
        if now is None:
            return m.KeyProviderConfigurationState(revision="", group="", items=())
        return m.KeyProviderConfigurationState(
            revision=now.revision, group=now.group, items=items(now)
        )

    @serves(m.QueryKeyProviderService)
    async def query_service(
        self, message: m.QueryKeyProviderService, peer: Peer
    ) -> m.KeyProviderServiceInfo:
        """The service's information, for export."""
        return m.KeyProviderServiceInfo(
            service=self.node.name,
            certificate=self.signer.certificate,
            trusted_ca=(self.signer.certificate,),
            group="" if self.configuration is None else self.configuration.group,
            client_certificate=self.own.certificate,
        )

    @serves(m.GenerateServiceClientCert)
    async def generate_client_cert(
        self, message: m.GenerateServiceClientCert, peer: Peer
    ) -> m.ServiceClientCert:
        """See the message."""
        own = await self.own.ensure_certificate(renew=message.renew)
        return m.ServiceClientCert(certificate=own.certificate)

    @serves(m.QueryPeerCertificates)
    async def peer_certificates(
        self, message: m.QueryPeerCertificates, peer: Peer
    ) -> m.PeerCertificates:
        """See the message."""
        return m.PeerCertificates(servers=await self.own.peers(self._provider(message.provider)))

    @serves(m.QueryTrustedKeyProviderHealth)
    async def health(
        self, message: m.QueryTrustedKeyProviderHealth, peer: Peer
    ) -> m.TrustedKeyProviderHealth:
        """Whether the primary key can be used, by each key server; a host sends its token."""
        if peer.local or peer.node == self.config.vcenter:
            provider = self._provider(message.provider)
        else:
            provider = self._authorize(message.token, message.provider, peer)
        return await self.primary.health(provider)

    def _provider(self, name: ProviderId) -> TrustedKeyProvider:
        providers = () if self.configuration is None else self.configuration.providers
        found = next((one for one in providers if one.provider == name), None)
        if found is None:
            raise NotFound(f"there is no key provider {quote_if_needed(name)}")
        return found


def items(configuration: m.KeyProviderConfiguration) -> tuple[ItemDigest, ...]:
    """The digest of each item of a configuration, for health (HLT-01)."""
    return (
        *(item("provider", one.provider, one) for one in configuration.providers),
        *(item("attestationService", one.node, one) for one in configuration.attestation_services),
    )
