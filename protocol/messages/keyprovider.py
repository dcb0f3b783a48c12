"""What a Key Provider Service serves: hosts with a token, and its Trust Authority vCenter.

The product's answers 400 to 500 are errors of the registry:

| status | error | when |
|---|---|---|
| 400 | ``InvalidArgument`` | invalid size or ciphertext |
| 401 | ``Unauthenticated`` | no token; altered, expired, of another host, group or issuer |
| 403 | ``NoPermission`` | a valid document that authorizes nothing; an unknown node |
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

    The service stores nothing: a repeat makes another key, and the first one is unused.
    """

    repeat: ClassVar[Repeat] = Repeat.READ
    provider: ProviderId
    token: bytes
    num_of_bytes: int = KEY_SIZE


class WrappedKeyGenerated(Reply, frozen=True, kw_only=True):
    """``ciphertext`` holds everything needed to unwrap the key; it becomes the key id."""

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
    """Everything that a Key Provider Service is configured with; provider names are unique.

    ``revision`` and ``group``: as in ``AttestationConfiguration``. Only tokens of accepted services
    of this group are accepted.
    """

    revision: str
    group: str
    providers: tuple[TrustedKeyProvider, ...] = ()
    attestation_services: tuple[AcceptedAttestationService, ...] = ()


class SetKeyProviderConfiguration(Request["KeyProviderConfigured"], frozen=True, kw_only=True):
    """Replace the whole configuration; durable before the answer.

    ``AlreadyExists`` for a duplicate provider; ``InvalidArgument`` for an invalid name, a provider
    without servers or primary key id, or an invalid certificate.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    configuration: KeyProviderConfiguration


class KeyProviderConfigured(Reply, frozen=True, kw_only=True):
    """The configuration is in force, durably."""

    revision: str


class QueryKeyProviderConfiguration(
    Request["KeyProviderConfigurationState"], frozen=True, kw_only=True
):
    """The configuration in force, for health (HLT-01)."""


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
    """client-certificate: the certificate that the service presents to key servers over KMIP.

    Created when there is none, or replaced (``renew``); durable on return.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    renew: bool = False


class ServiceClientCert(Reply, frozen=True, kw_only=True):
    """``certificate``: DER; key servers are to take it in the role kps."""

    certificate: bytes


class QueryPeerCertificates(Request["PeerCertificates"], frozen=True, kw_only=True):
    """peer-certs/current: the certificates that the provider's KMIP servers present now, trusted or
    not. ``NotFound`` for a provider that the service does not have."""

    provider: ProviderId


class PeerCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """``certificate``: DER; empty, with the ``reason``, when the server presents none."""

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
    """OK: all servers give the primary key; WARNING: some do; ERROR: none does."""

    provider: ProviderId
    health: ProviderHealth
    servers: tuple[KeyServerStatus, ...]
