"""Structures that attributes, objects and headers are made of (KMIP 1.4 sections 2, 3 and 6).

Names and tags are KMIP's. Fields that came with 1.1 to 1.4 are absent in older messages.
"""

from __future__ import annotations

from protocol.kmip.algorithms import (
    BlockCipherMode,
    CryptographicAlgorithm,
    DigitalSignatureAlgorithm,
    DRBGAlgorithm,
    FIPS186Variation,
    HashingAlgorithm,
    KeyFormatType,
    KeyRoleType,
    MaskGenerator,
    PaddingMethod,
    RecommendedCurve,
    RNGAlgorithm,
)
from protocol.kmip.enums import (
    AlternativeNameType,
    KeyValueLocationType,
    LinkType,
    NameType,
    RevocationReasonCode,
    UsageLimitsUnit,
)
from protocol.kmip.fields import Fields, Integer, LongInteger


class ProtocolVersion(Fields, frozen=True, kw_only=True):
    """A version of KMIP (KMIP 1.4 section 6.1)."""

    protocol_version_major: Integer
    protocol_version_minor: Integer


class Nonce(Fields, frozen=True, kw_only=True):
    """What a server wants attested (KMIP 1.4 section 2.1.14)."""

    nonce_id: bytes
    nonce_value: bytes


class Name(Fields, frozen=True, kw_only=True):
    """A name that people give (KMIP 1.4 section 3.2)."""

    name_value: str
    name_type: NameType | int


class Link(Fields, frozen=True, kw_only=True):
    """Another object, and what it is to this one (KMIP 1.4 section 3.35)."""

    link_type: LinkType | int
    linked_object_identifier: str


class Digest(Fields, frozen=True, kw_only=True):
    """A hash of an object's material in one of its formats (KMIP 1.4 section 3.17)."""

    hashing_algorithm: HashingAlgorithm | int
    digest_value: bytes | None = None
    key_format_type: KeyFormatType | int | None = None


class CryptographicParameters(Fields, frozen=True, kw_only=True):
    """How a key is to be used in a cipher (KMIP 1.4 section 3.6)."""

    block_cipher_mode: BlockCipherMode | int | None = None
    padding_method: PaddingMethod | int | None = None
    hashing_algorithm: HashingAlgorithm | int | None = None
    key_role_type: KeyRoleType | int | None = None
    digital_signature_algorithm: DigitalSignatureAlgorithm | int | None = None
    cryptographic_algorithm: CryptographicAlgorithm | int | None = None
    random_iv: bool | None = None
    iv_length: Integer | None = None
    tag_length: Integer | None = None
    fixed_field_length: Integer | None = None
    invocation_field_length: Integer | None = None
    counter_length: Integer | None = None
    initial_counter_value: Integer | None = None
    salt_length: Integer | None = None
    mask_generator: MaskGenerator | int | None = None
    mask_generator_hashing_algorithm: HashingAlgorithm | int | None = None
    p_source: bytes | None = None
    trailer_field: Integer | None = None


class RNGParameters(Fields, frozen=True, kw_only=True):
    """A random number generator (KMIP 1.4 section 2.1.18)."""

    rng_algorithm: RNGAlgorithm | int
    cryptographic_algorithm: CryptographicAlgorithm | int | None = None
    cryptographic_length: Integer | None = None
    hashing_algorithm: HashingAlgorithm | int | None = None
    drbg_algorithm: DRBGAlgorithm | int | None = None
    recommended_curve: RecommendedCurve | int | None = None
    fips186_variation: FIPS186Variation | int | None = None
    prediction_resistance: bool | None = None


class RevocationReason(Fields, frozen=True, kw_only=True):
    """Why an object is revoked (KMIP 1.4 section 3.31)."""

    revocation_reason_code: RevocationReasonCode | int
    revocation_message: str | None = None


class UsageLimits(Fields, frozen=True, kw_only=True):
    """How much a key may be used (KMIP 1.4 section 3.21)."""

    usage_limits_total: LongInteger
    usage_limits_count: LongInteger | None = None
    usage_limits_unit: UsageLimitsUnit | int


class ApplicationSpecificInformation(Fields, frozen=True, kw_only=True):
    """What an application keeps with an object (KMIP 1.4 section 3.36)."""

    application_namespace: str
    application_data: str | None = None


class AlternativeName(Fields, frozen=True, kw_only=True):
    """A name in another system (KMIP 1.4 section 3.40)."""

    alternative_name_value: str
    alternative_name_type: AlternativeNameType | int


class KeyValueLocation(Fields, frozen=True, kw_only=True):
    """Where the material lies when the server does not have it (KMIP 1.4 section 3.42)."""

    key_value_location_value: str
    key_value_location_type: KeyValueLocationType | int


class CertificateIdentifier(Fields, frozen=True, kw_only=True):
    """Issuer and number of a certificate, as text (KMIP 1.4 section 3.13)."""

    issuer: str
    serial_number: str | None = None


class CertificateSubject(Fields, frozen=True, kw_only=True):
    """The subject of a certificate, as text (KMIP 1.4 section 3.14)."""

    certificate_subject_distinguished_name: str
    certificate_subject_alternative_name: tuple[str, ...] = ()


class CertificateIssuer(Fields, frozen=True, kw_only=True):
    """The issuer of a certificate, as text (KMIP 1.4 section 3.15)."""

    certificate_issuer_distinguished_name: str
    certificate_issuer_alternative_name: tuple[str, ...] = ()


class X509CertificateIdentifier(Fields, frozen=True, kw_only=True):
    """Issuer and number of an X.509 certificate, in DER (KMIP 1.4 section 3.10)."""

    issuer_distinguished_name: bytes
    certificate_serial_number: bytes


class X509CertificateSubject(Fields, frozen=True, kw_only=True):
    """The subject of an X.509 certificate, in DER (KMIP 1.4 section 3.11)."""

    subject_distinguished_name: bytes
    subject_alternative_name: tuple[bytes, ...] = ()


class X509CertificateIssuer(Fields, frozen=True, kw_only=True):
    """The issuer of an X.509 certificate, in DER (KMIP 1.4 section 3.12)."""

    issuer_distinguished_name: bytes
    issuer_alternative_name: tuple[bytes, ...] = ()
