"""Managed objects, their key blocks and attributes, and the structures that these and headers are
made of (KMIP 1.4 sections 2, 3 and 6). Names and tags are KMIP's. Fields that came with 1.1 to
1.4 are absent in older messages.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from protocol.kmip.algorithms import (
    BlockCipherMode,
    CryptographicAlgorithm,
    DigitalSignatureAlgorithm,
    DRBGAlgorithm,
    EncodingOption,
    FIPS186Variation,
    HashingAlgorithm,
    KeyCompressionType,
    KeyFormatType,
    KeyRoleType,
    MaskGenerator,
    PaddingMethod,
    RecommendedCurve,
    RNGAlgorithm,
    SplitKeyMethod,
    WrappingMethod,
)
from protocol.kmip.enums import (
    AlternativeNameType,
    CertificateType,
    KeyValueLocationType,
    LinkType,
    NameType,
    ObjectType,
    RevocationReasonCode,
    SecretDataType,
    State,
    UsageLimitsUnit,
)
from protocol.kmip.fields import (
    DateTime,
    Fields,
    Integer,
    Interval,
    LongInteger,
    ManagedObject,
    Named,
)
from protocol.kmip.ttlv import TtlvItem
from protocol.secret import KeyMaterial


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


ATTRIBUTES: Final[dict[str, Any]] = {
    "Unique Identifier": str,
    "Name": Name,
    "Object Type": ObjectType,
    "Cryptographic Algorithm": CryptographicAlgorithm,
    "Cryptographic Length": Integer,
    "Cryptographic Parameters": CryptographicParameters,
    "Certificate Type": CertificateType,
    "Certificate Length": Integer,
    "X.509 Certificate Identifier": X509CertificateIdentifier,
    "X.509 Certificate Subject": X509CertificateSubject,
    "X.509 Certificate Issuer": X509CertificateIssuer,
    "Certificate Identifier": CertificateIdentifier,
    "Certificate Subject": CertificateSubject,
    "Certificate Issuer": CertificateIssuer,
    "Digital Signature Algorithm": DigitalSignatureAlgorithm,
    "Digest": Digest,
    "Operation Policy Name": str,
    "Cryptographic Usage Mask": Integer,
    "Lease Time": Interval,
    "Usage Limits": UsageLimits,
    "State": State,
    "Initial Date": DateTime,
    "Activation Date": DateTime,
    "Process Start Date": DateTime,
    "Protect Stop Date": DateTime,
    "Deactivation Date": DateTime,
    "Destroy Date": DateTime,
    "Compromise Occurrence Date": DateTime,
    "Compromise Date": DateTime,
    "Revocation Reason": RevocationReason,
    "Archive Date": DateTime,
    "Object Group": str,
    "Fresh": bool,
    "Link": Link,
    "Application Specific Information": ApplicationSpecificInformation,
    "Contact Information": str,
    "Last Change Date": DateTime,
    "Alternative Name": AlternativeName,
    "Key Value Present": bool,
    "Key Value Location": KeyValueLocation,
    "Original Creation Date": DateTime,
    "Random Number Generator": RNGParameters,
    "PKCS#12 Friendly Name": str,
    "Description": str,
    "Comment": str,
    "Sensitive": bool,
    "Always Sensitive": bool,
    "Extractable": bool,
    "Never Extractable": bool,
}
"""The annotation of each standard attribute's value, as ``fields`` has them.

Not typed: Cryptographic Domain Parameters, which no symmetric key has.
"""

SINCE: Final[dict[str, int]] = {
    "Certificate Length": 1,
    "X.509 Certificate Identifier": 1,
    "X.509 Certificate Subject": 1,
    "X.509 Certificate Issuer": 1,
    "Digital Signature Algorithm": 1,
    "Fresh": 1,
    "Alternative Name": 2,
    "Key Value Present": 2,
    "Key Value Location": 2,
    "Original Creation Date": 2,
    "Random Number Generator": 3,
    "PKCS#12 Friendly Name": 4,
    "Description": 4,
    "Comment": 4,
    "Sensitive": 4,
    "Always Sensitive": 4,
    "Extractable": 4,
    "Never Extractable": 4,
}
"""The minor version of KMIP 1.x with which an attribute came, of those that came later than 1.0."""


class Attribute(Fields, frozen=True, kw_only=True):
    """One instance of an attribute; ``attribute_index`` None is the first.

    The value of a custom attribute (``x-`` of a client, ``y-`` of a server) is ``str``, and a
    ``TtlvItem`` when it is of another type.
    """

    attribute_name: str
    attribute_index: Integer | None = None
    attribute_value: Annotated[Any, Named("attribute_name", ATTRIBUTES)] | None = None


class TemplateAttribute(Fields, frozen=True, kw_only=True):
    """Attributes of an object to be made, and names of templates to take others from."""

    name: tuple[Name, ...] = ()
    attribute: tuple[Attribute, ...] = ()


class KeyValue(Fields, frozen=True, kw_only=True):
    """Material in clear; a transparent format has a tree."""

    key_material: KeyMaterial | TtlvItem
    attribute: tuple[Attribute, ...] = ()


class EncryptionKeyInformation(Fields, frozen=True, kw_only=True):
    """The key that wraps."""

    unique_identifier: str
    cryptographic_parameters: CryptographicParameters | None = None


class MACSignatureKeyInformation(Fields, frozen=True, kw_only=True):
    """The key that signs what is wrapped."""

    unique_identifier: str
    cryptographic_parameters: CryptographicParameters | None = None


class KeyWrappingData(Fields, frozen=True, kw_only=True):
    """How a key value is wrapped (KMIP 1.4 section 2.1.5)."""

    wrapping_method: WrappingMethod | int
    encryption_key_information: EncryptionKeyInformation | None = None
    mac_signature_key_information: MACSignatureKeyInformation | None = None
    mac_signature: bytes | None = None
    iv_counter_nonce: bytes | None = None
    encoding_option: EncodingOption | int | None = None


class KeyWrappingSpecification(Fields, frozen=True, kw_only=True):
    """How Get is to wrap (KMIP 1.4 section 2.1.6)."""

    wrapping_method: WrappingMethod | int
    encryption_key_information: EncryptionKeyInformation | None = None
    mac_signature_key_information: MACSignatureKeyInformation | None = None
    attribute_name: tuple[str, ...] = ()
    encoding_option: EncodingOption | int | None = None


class KeyBlock(Fields, frozen=True, kw_only=True):
    """A key with what is needed to use it (KMIP 1.4 section 2.1.3); a wrapped value is bytes."""

    key_format_type: KeyFormatType | int
    key_compression_type: KeyCompressionType | int | None = None
    key_value: KeyValue | KeyMaterial | None = None
    cryptographic_algorithm: CryptographicAlgorithm | int | None = None
    cryptographic_length: Integer | None = None
    key_wrapping_data: KeyWrappingData | None = None


class SymmetricKey(Fields, frozen=True, kw_only=True):
    """KMIP 1.4 section 2.2.2.

    ``object_type`` belongs to none: a key server that vCenter 8.0.1 works with has an empty
    structure of that tag there.
    """

    object_type: TtlvItem | None = None
    key_block: KeyBlock


class PublicKey(Fields, frozen=True, kw_only=True):
    """KMIP 1.4 section 2.2.3."""

    key_block: KeyBlock


class PrivateKey(Fields, frozen=True, kw_only=True):
    """KMIP 1.4 section 2.2.4."""

    key_block: KeyBlock


class SplitKey(Fields, frozen=True, kw_only=True):
    """KMIP 1.4 section 2.2.5."""

    split_key_parts: Integer
    key_part_identifier: Integer
    split_key_threshold: Integer
    split_key_method: SplitKeyMethod | int
    prime_field_size: TtlvItem | None = None
    key_block: KeyBlock


class Template(Fields, frozen=True, kw_only=True):
    """KMIP 1.4 section 2.2.6."""

    attribute: tuple[Attribute, ...] = ()


class SecretData(Fields, frozen=True, kw_only=True):
    """KMIP 1.4 section 2.2.7."""

    secret_data_type: SecretDataType | int
    key_block: KeyBlock


class Certificate(Fields, frozen=True, kw_only=True):
    """KMIP 1.4 section 2.2.1."""

    certificate_type: CertificateType | int
    certificate_value: bytes


AnyObject = Annotated[
    SymmetricKey
    | PublicKey
    | PrivateKey
    | SplitKey
    | Template
    | SecretData
    | Certificate
    | TtlvItem,
    ManagedObject,
]
"""An object in Register and Get: its tag is its class; opaque objects and PGP keys are trees."""
