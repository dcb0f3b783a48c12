"""What a Key Provider Service serves: hosts with a token, and its Trust Authority vCenter.

The product's answers 400 to 500 are errors of the registry:

| status | error | when |
|---|---|---|
| 400 | ``InvalidArgument`` | size or ciphertext is none |
| 401 | ``Unauthenticated`` | no token; altered, expired, of another host, group or issuer |
| 403 | ``NoPermission`` | a good document that authorizes nothing; a stranger |
| 404 | ``NotFound`` | no such provider |
| 500 | ``KeyProviderUnreachable`` | no trusted key server of the provider answers |
| 500 | ``ItemNotFound``, ``WrongKeyLifecycleState`` | the primary key is gone or not usable |
"""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec

from protocol.messages.base import Repeat, Reply, Request, Sealed
from protocol.terms import NodeName, ProviderHealth, ProviderId
from protocol.trust import AcceptedAttestationService, ItemDigest, TrustedKeyProvider

KEY_SIZE: Final = 32
"""Bytes of a key: AES-256 is what hosts use (KEY-05)."""
CIPHERTEXT_LIMIT: Final = 512
"""Bytes of a ciphertext."""


class GenerateWrappedKey(Request["WrappedKeyGenerated"], frozen=True, kw_only=True):
    """key-operation generate-key: a new key of ``num_of_bytes``, wrapped under the primary key.

    Nothing is kept of it, so a repeat makes another key, and the first is nobody's.
    """

    repeat: ClassVar[Repeat] = Repeat.READ
    provider: ProviderId
    token: bytes
    num_of_bytes: int = KEY_SIZE


class WrappedKeyGenerated(Reply, frozen=True, kw_only=True):
    """``ciphertext`` carries all that is needed to get the key back; it becomes the key id."""

    ciphertext: bytes
    plaintext: Sealed


class DecryptWrappedKey(Request["WrappedKeyDecrypted"], frozen=True, kw_only=True):
    """key-operation decrypt."""

    provider: ProviderId
    token: bytes
    ciphertext: bytes


class WrappedKeyDecrypted(Reply, frozen=True, kw_only=True):
    """The key."""

    plaintext: Sealed


# ---- for the Trust Authority vCenter -----------------------------------------------------------


class KeyProviderConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """All that a Key Provider Service knows; provider names are unique.

    ``revision`` and ``group``: as in ``AttestationConfiguration``. Tokens are taken of the accepted
    services of this group alone.
    """

    revision: str
    group: str
    providers: tuple[TrustedKeyProvider, ...] = ()
    attestation_services: tuple[AcceptedAttestationService, ...] = ()


class SetKeyProviderConfiguration(Request["KeyProviderConfigured"], frozen=True, kw_only=True):
    """The whole configuration, in the place of the one before; durable before it is answered.

    ``AlreadyExists`` for a provider that is there twice; ``InvalidArgument`` for a name that is
    none, a provider without servers or primary key id, or a certificate that is none.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    configuration: KeyProviderConfiguration


class KeyProviderConfigured(Reply, frozen=True, kw_only=True):
    """It is in force, durably."""

    revision: str


class QueryKeyProviderConfiguration(
    Request["KeyProviderConfigurationState"], frozen=True, kw_only=True
):
    """What is in force, for health (HLT-01)."""


class KeyProviderConfigurationState(Reply, frozen=True, kw_only=True):
    """``revision`` empty: never configured."""

    revision: str
    group: str
    items: tuple[ItemDigest, ...]


class QueryKeyProviderService(Request["KeyProviderServiceInfo"], frozen=True, kw_only=True):
    """Services information, as they are exported. ``certificate``: its identity at key servers."""


class KeyProviderServiceInfo(Reply, frozen=True, kw_only=True):
    """``certificate``: DER, the identity that key servers are to trust over the bus.
    ``client_certificate``: DER, what it shows KMIP servers; empty: none was made yet.
    ``trusted_ca``: see ``ServiceRecord``. ``group`` is empty until the service is configured."""

    service: NodeName
    certificate: bytes
    trusted_ca: tuple[bytes, ...]
    group: str
    client_certificate: bytes = b""


class GenerateServiceClientCert(Request["ServiceClientCert"], frozen=True, kw_only=True):
    """client-certificate: what the service shows key servers that it asks by KMIP.

    Made when there is none, or in the place of the one before (``renew``); durable on return.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    renew: bool = False


class ServiceClientCert(Reply, frozen=True, kw_only=True):
    """``certificate``: DER; key servers are to take it in the role kps."""

    certificate: bytes


class QueryPeerCertificates(Request["PeerCertificates"], frozen=True, kw_only=True):
    """peer-certs/current: what the provider's key servers that are asked by KMIP show now, whether
    it is trusted or not. ``NotFound`` for a provider that the service does not have."""

    provider: ProviderId


class PeerCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """``certificate``: DER; empty with the ``reason`` when the server shows none."""

    node: NodeName
    certificate: bytes = b""
    reason: str = ""


class PeerCertificates(Reply, frozen=True, kw_only=True):
    """One for each of those servers, in the provider's order."""

    servers: tuple[PeerCertificate, ...]


class QueryTrustedKeyProviderHealth(Request["TrustedKeyProviderHealth"], frozen=True, kw_only=True):
    """Whether the primary key of ``provider`` can be used now: the service asks its key servers.

    A host shows its ``token``, as for a key. ``NotFound`` for a provider that it does not have.
    """

    provider: ProviderId
    token: bytes = b""


class KeyServerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One key server: ``client_trust_server`` this side trusts it, ``server_trust_client`` it takes
    this service (None: not known, it did not answer), ``reason`` why it cannot be used."""

    node: NodeName
    health: ProviderHealth
    client_trust_server: bool
    server_trust_client: bool | None = None
    reason: str = ""


class TrustedKeyProviderHealth(Reply, frozen=True, kw_only=True):
    """OK: all servers give the primary key; WARNING: some; ERROR: none."""

    provider: ProviderId
    health: ProviderHealth
    servers: tuple[KeyServerStatus, ...]
