"""Managed objects and their key blocks (KMIP 1.4 section 2)."""

from __future__ import annotations

from typing import Annotated

from protocol.kmip.algorithms import (
    CryptographicAlgorithm,
    EncodingOption,
    KeyCompressionType,
    KeyFormatType,
    SplitKeyMethod,
    WrappingMethod,
)
from protocol.kmip.attributes import Attribute
from protocol.kmip.enums import CertificateType, SecretDataType
from protocol.kmip.fields import Fields, Integer, ManagedObject
from protocol.kmip.structures import CryptographicParameters
from protocol.kmip.ttlv import TtlvItem
from protocol.secret import KeyMaterial


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
