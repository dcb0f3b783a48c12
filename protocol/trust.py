"""What the parties of a Trust Authority share: images, identities, service records, findings.

Values only. Certificates and public areas are bytes as their standards encode them (DER, TPMT).
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Final

import msgspec

from protocol.terms import KeyId, NodeName, ProviderId
from protocol.tpm.structures import PublicArea

GROUP_LIMIT: Final = 128
"""Characters of a group id, at most."""


class TrustItem(StrEnum):
    """The items that a Trust Authority consists of; the values are those of ``ItemDigest.kind``."""

    PRINCIPAL = "principal"
    CA_CERTIFICATE = "caCertificate"
    ENDORSEMENT_KEY = "endorsementKey"
    BASE_IMAGE = "baseImage"
    PROVIDER = "provider"


class TokenType(StrEnum):
    """The documents that an Attestation Service issues for an attested host (ATT-03)."""

    KMS_AUTH_JWT = "KMS_AUTH_JWT"  # authorizes at a Key Provider Service of the group
    REPORTING_JWT = "REPORTING_JWT"  # reports, and never authorizes anything


class TrustAttestationStatus(StrEnum):
    """HostTrustAuthorityAttestationInfo.attestationStatus (ATT-05)."""

    ATTESTED = "attested"
    NOT_ATTESTED = "notAttested"
    UNKNOWN = "unknown"


class FindingCode(StrEnum):
    """Why a host is not attested; the word behind a refusal (ATT-02)."""

    PRINCIPAL = "principal"  # no imported principal vouches for the host
    ENDORSEMENT_KEY = "endorsementKey"  # the endorsement key is not registered
    CERTIFICATE = "certificate"  # its certificate chains to no imported CA
    ATTESTATION_KEY = "attestationKey"  # no attestation key, or not of that TPM
    QUOTE = "quote"  # signature, nonce, selection or values
    EVENT_LOG = "eventLog"  # malformed, or does not lead to the quoted PCRs
    EVENT_BODY = "eventBody"  # digests that are not those of their bodies
    EVENT_LOG_OVERFLOW = "eventLogOverflow"  # the event log is full (ATT-10)
    BASE_IMAGE = "baseImage"  # measurements match no imported base image
    SECURE_BOOT = "secureBoot"  # Secure Boot was off, or not measured
    RESET_COUNTER = "resetCounter"  # the TPM's counters went back: cleared or rolled back


class AttestationFinding(msgspec.Struct, frozen=True):
    """One reason why a host is not attested, with a sentence for people."""

    code: FindingCode
    text: str


class TpmIdentity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which TPM a host has: exactly one of certificate and public area (ATT-01).

    ``certificate``: DER of the endorsement key's certificate; the AS takes the key from it.
    ``public_area``: TPMT_PUBLIC of the endorsement key, for an AS that has it in its list.
    """

    certificate: bytes = b""
    public_area: PublicArea | None = None


class ImageMeasurement(msgspec.Struct, frozen=True):
    """One file of a base image as a boot measures it: register, name, and SHA-256 (32 bytes)."""

    pcr: int
    name: str
    digest: bytes


class BaseImage(msgspec.Struct, frozen=True, kw_only=True):
    """The measurements of one build's signed image, in order (ATT-02).

    ``version`` is unique among imported images, such as ``8.0U3-24022510``; one image per version.
    """

    version: str
    display_name: str
    measurements: tuple[ImageMeasurement, ...]


class TpmCaCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """A named chain of a TPM maker, DER, ordered root to leaf."""

    name: str
    chain: tuple[bytes, ...]


class TrustedEndorsementKey(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A named endorsement key that is trusted: exactly one of public key and certificate (TA-07).

    ``public_area`` is TPMT_PUBLIC, ``certificate`` DER. ``registered``: the number of the change
    that imported it, assigned by its vCenter. A new number is a new registration of the key.
    """

    name: str
    public_area: PublicArea | None = None
    certificate: bytes = b""
    registered: int = 0


class TrustedPrincipal(msgspec.Struct, frozen=True, kw_only=True):
    """The token-signing identity of a workload vCenter, which vouches for its hosts.

    ``certificates``: DER; a voucher signed with the key of any of them is valid.
    """

    name: str
    issuer: str
    certificates: tuple[bytes, ...]


class TpmSettings(msgspec.Struct, frozen=True, kw_only=True):
    """TPM settings of an Attestation Service (TA-07). With neither of them, any endorsement key is
    accepted, and setting that gives a warning."""

    require_endorsement_keys: bool = False
    require_certificate_validation: bool = True


class KeyServerRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A key server of a trusted provider; ``trusted``: an administrator reviewed and trusts its
    identity.

    ``address``: ``kmip://NODE``; empty: its node, over the bus. ``certificates`` (DER): over KMIP,
    the server's certificate must lead to one of them.
    """

    node: NodeName
    trusted: bool = False
    address: str = ""
    certificates: tuple[bytes, ...] = ()


class TrustedKeyProvider(msgspec.Struct, frozen=True, kw_only=True):
    """A trusted provider as a Key Provider Service has it.

    ``primary_key_id`` is the key server's unique id of the primary key, not a name.
    """

    provider: ProviderId
    primary_key_id: KeyId
    servers: tuple[KeyServerRecord, ...]


class AcceptedAttestationService(msgspec.Struct, frozen=True, kw_only=True):
    """An Attestation Service whose tokens a Key Provider Service accepts: its signing certificate
    (DER) and its group."""

    node: NodeName
    certificate: bytes
    group: str


class ServiceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An Attestation or Key Provider Service as hosts know it (TA-08).

    ``trusted_ca``: DER, root to leaf; the last one is that of the service itself. An Attestation
    Service and a Key Provider Service may be used together only when their groups match.
    """

    node: NodeName
    trusted_ca: tuple[bytes, ...]
    group: str


class TrustedConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """The applied configuration of a trusted host (KPS-00), set by the workload vCenter.

    ``providers``: the only trusted providers for which the host may ask a Key Provider Service.
    ``voucher``: the workload vCenter vouches that this host is its own
    (``protocol.crypto.tokens``).
    """

    revision: str
    attestation_services: tuple[ServiceRecord, ...] = ()
    key_provider_services: tuple[ServiceRecord, ...] = ()
    providers: tuple[ProviderId, ...] = ()
    voucher: bytes = b""


class HostTrustReport(msgspec.Struct, frozen=True, kw_only=True):
    """HostTrustAuthorityAttestationInfo: the result of one Attestation Service for a host (ATT-05).

    Times in Unix seconds of the service's clock; ``messages`` are the findings' texts.
    """

    service: NodeName
    status: TrustAttestationStatus
    attested_at: float | None = None
    attested_until: float | None = None
    messages: tuple[str, ...] = ()


class ItemDigest(msgspec.Struct, frozen=True, kw_only=True):
    """One item of a service's configuration, for comparison between services (HLT-01).

    ``kind``: ``caCertificate``, ``endorsementKey``, ``baseImage``, ``principal``, ``settings``,
    ``provider``, ``attestationService``. ``digest``: SHA-256 of its encoding.
    """

    kind: str
    name: str
    digest: bytes


_encode = msgspec.msgpack.Encoder(order="deterministic").encode


def digest_of(value: msgspec.Struct) -> bytes:
    """SHA-256 of a value's encoding: equal values have equal digests (HLT-01, HLT-02)."""
    return hashlib.sha256(_encode(value)).digest()


def item(kind: str, name: str, value: msgspec.Struct) -> ItemDigest:
    """The digest of one item of a configuration."""
    return ItemDigest(kind=kind, name=name, digest=digest_of(value))
