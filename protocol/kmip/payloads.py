"""What each operation asks and answers (KMIP 1.4 section 4): a class each, and two tables.

A new operation is its two classes and its line in ``PAYLOADS``. A request that names no object
means the ID Placeholder. What a table does not have comes as ``Unread``, so that one strange item
does not spoil its batch.
"""

from __future__ import annotations

from typing import Final

from protocol.kmip.algorithms import KeyCompressionType, KeyFormatType
from protocol.kmip.enums import (
    AttestationType,
    ObjectGroupMember,
    ObjectType,
    Operation,
    QueryFunction,
)
from protocol.kmip.fields import DateTime, Fields, Integer, Interval, LongInteger
from protocol.kmip.objects import (
    AnyObject,
    Attribute,
    CryptographicParameters,
    KeyWrappingSpecification,
    ProtocolVersion,
    RevocationReason,
    RNGParameters,
    TemplateAttribute,
)
from protocol.kmip.ttlv import TtlvItem
from protocol.secret import KeyMaterial


class CreateRequest(Fields, frozen=True, kw_only=True):
    """Make a symmetric key (KMIP 1.4 section 4.1)."""

    object_type: ObjectType | int
    template_attribute: TemplateAttribute


class CreateResponse(Fields, frozen=True, kw_only=True):
    """Which object was made; attributes that the server chose itself."""

    object_type: ObjectType | int
    unique_identifier: str
    template_attribute: TemplateAttribute | None = None


class RegisterRequest(Fields, frozen=True, kw_only=True):
    """Bring an object (KMIP 1.4 section 4.3)."""

    object_type: ObjectType | int
    template_attribute: TemplateAttribute
    object: AnyObject | None = None


class RegisterResponse(Fields, frozen=True, kw_only=True):
    """Which object it is now; attributes that the server chose itself."""

    unique_identifier: str
    template_attribute: TemplateAttribute | None = None


class LocateRequest(Fields, frozen=True, kw_only=True):
    """Objects that have all these attributes (KMIP 1.4 section 4.9)."""

    maximum_items: Integer | None = None
    offset_items: Integer | None = None
    storage_status_mask: Integer | None = None
    object_group_member: ObjectGroupMember | int | None = None
    attribute: tuple[Attribute, ...] = ()


class LocateResponse(Fields, frozen=True, kw_only=True):
    """Objects, and how many there are in all (since 1.3)."""

    located_items: Integer | None = None
    unique_identifier: tuple[str, ...] = ()


class GetRequest(Fields, frozen=True, kw_only=True):
    """The object itself (KMIP 1.4 section 4.11)."""

    unique_identifier: str | None = None
    key_format_type: KeyFormatType | int | None = None
    key_wrap_type: TtlvItem | None = None
    key_compression_type: KeyCompressionType | int | None = None
    key_wrapping_specification: KeyWrappingSpecification | None = None


class GetResponse(Fields, frozen=True, kw_only=True):
    """The object, with its material."""

    object_type: ObjectType | int
    unique_identifier: str
    object: AnyObject


class GetAttributesRequest(Fields, frozen=True, kw_only=True):
    """Attributes of these names, all when there is none (KMIP 1.4 section 4.12)."""

    unique_identifier: str | None = None
    attribute_name: tuple[str, ...] = ()


class GetAttributesResponse(Fields, frozen=True, kw_only=True):
    """Those that the object has."""

    unique_identifier: str
    attribute: tuple[Attribute, ...] = ()


class GetAttributeListRequest(Fields, frozen=True, kw_only=True):
    """Names of attributes (KMIP 1.4 section 4.13)."""

    unique_identifier: str | None = None


class GetAttributeListResponse(Fields, frozen=True, kw_only=True):
    """Names of all attributes that the object has."""

    unique_identifier: str
    attribute_name: tuple[str, ...] = ()


class AddAttributeRequest(Fields, frozen=True, kw_only=True):
    """One more instance (KMIP 1.4 section 4.14)."""

    unique_identifier: str | None = None
    attribute: Attribute


class AddAttributeResponse(Fields, frozen=True, kw_only=True):
    """The attribute as it is stored."""

    unique_identifier: str
    attribute: Attribute


class ModifyAttributeRequest(Fields, frozen=True, kw_only=True):
    """Another value for an instance (KMIP 1.4 section 4.15)."""

    unique_identifier: str | None = None
    attribute: Attribute


class ModifyAttributeResponse(Fields, frozen=True, kw_only=True):
    """The attribute as it is stored."""

    unique_identifier: str
    attribute: Attribute


class DeleteAttributeRequest(Fields, frozen=True, kw_only=True):
    """Remove an instance; without an index the first (KMIP 1.4 section 4.16)."""

    unique_identifier: str | None = None
    attribute_name: str
    attribute_index: Integer | None = None


class DeleteAttributeResponse(Fields, frozen=True, kw_only=True):
    """The attribute as it was."""

    unique_identifier: str
    attribute: Attribute


class ActivateRequest(Fields, frozen=True, kw_only=True):
    """Pre-Active to Active (KMIP 1.4 section 4.19)."""

    unique_identifier: str | None = None


class ActivateResponse(Fields, frozen=True, kw_only=True):
    """Which object it was."""

    unique_identifier: str


class RevokeRequest(Fields, frozen=True, kw_only=True):
    """To Compromised or Deactivated, as the reason says (KMIP 1.4 section 4.20)."""

    unique_identifier: str | None = None
    revocation_reason: RevocationReason
    compromise_occurrence_date: DateTime | None = None


class RevokeResponse(Fields, frozen=True, kw_only=True):
    """Which object it was."""

    unique_identifier: str


class DestroyRequest(Fields, frozen=True, kw_only=True):
    """Wipe the material (KMIP 1.4 section 4.21)."""

    unique_identifier: str | None = None


class DestroyResponse(Fields, frozen=True, kw_only=True):
    """Which object it was."""

    unique_identifier: str


class ReKeyRequest(Fields, frozen=True, kw_only=True):
    """Make the key that follows this one (KMIP 1.4 section 4.4)."""

    unique_identifier: str | None = None
    offset: Interval | None = None
    template_attribute: TemplateAttribute | None = None


class ReKeyResponse(Fields, frozen=True, kw_only=True):
    """The new key; attributes that the server chose itself."""

    unique_identifier: str
    template_attribute: TemplateAttribute | None = None


class CheckRequest(Fields, frozen=True, kw_only=True):
    """Whether it may be used like that (KMIP 1.4 section 4.10)."""

    unique_identifier: str | None = None
    usage_limits_count: LongInteger | None = None
    cryptographic_usage_mask: Integer | None = None
    lease_time: Interval | None = None


class CheckResponse(Fields, frozen=True, kw_only=True):
    """Which key it is, when it may; else what may be in place of what may not."""

    unique_identifier: str | None = None
    usage_limits_count: LongInteger | None = None
    cryptographic_usage_mask: Integer | None = None
    lease_time: Interval | None = None


class ObtainLeaseRequest(Fields, frozen=True, kw_only=True):
    """Have it lent again (KMIP 1.4 section 4.17)."""

    unique_identifier: str | None = None


class ObtainLeaseResponse(Fields, frozen=True, kw_only=True):
    """For how long, and when it last changed."""

    unique_identifier: str
    lease_time: Interval
    last_change_date: DateTime


class GetUsageAllocationRequest(Fields, frozen=True, kw_only=True):
    """Take so much of its Usage Limits (KMIP 1.4 section 4.18)."""

    unique_identifier: str | None = None
    usage_limits_count: LongInteger


class GetUsageAllocationResponse(Fields, frozen=True, kw_only=True):
    """Which object it was."""

    unique_identifier: str


class QueryRequest(Fields, frozen=True, kw_only=True):
    """What the server is and can do (KMIP 1.4 section 4.25)."""

    query_function: tuple[QueryFunction | int, ...] = ()


class QueryResponse(Fields, frozen=True, kw_only=True):
    """An answer to each function asked; what came with 1.3 and describes itself is a tree."""

    operation: tuple[Operation | int, ...] = ()
    object_type: tuple[ObjectType | int, ...] = ()
    vendor_identification: str | None = None
    server_information: TtlvItem | None = None
    application_namespace: tuple[str, ...] = ()
    extension_information: tuple[TtlvItem, ...] = ()
    attestation_type: tuple[AttestationType | int, ...] = ()
    rng_parameters: tuple[RNGParameters, ...] = ()
    profile_information: tuple[TtlvItem, ...] = ()
    validation_information: tuple[TtlvItem, ...] = ()
    capability_information: tuple[TtlvItem, ...] = ()
    client_registration_method: tuple[TtlvItem, ...] = ()


class DiscoverVersionsRequest(Fields, frozen=True, kw_only=True):
    """Versions that the client speaks, the best first (KMIP 1.4 section 4.26)."""

    protocol_version: tuple[ProtocolVersion, ...] = ()


class DiscoverVersionsResponse(Fields, frozen=True, kw_only=True):
    """Those of them that the server speaks too; all of its own when it was given none."""

    protocol_version: tuple[ProtocolVersion, ...] = ()


class EncryptRequest(Fields, frozen=True, kw_only=True):
    """``data`` under a key that stays at the server (KMIP 1.4 section 4.29)."""

    unique_identifier: str | None = None
    cryptographic_parameters: CryptographicParameters | None = None
    data: KeyMaterial | None = None
    iv_counter_nonce: bytes | None = None
    correlation_value: bytes | None = None
    init_indicator: bool | None = None
    final_indicator: bool | None = None
    authenticated_encryption_additional_data: bytes | None = None


class EncryptResponse(Fields, frozen=True, kw_only=True):
    """Ciphertext, and what Decrypt will need."""

    unique_identifier: str
    data: bytes | None = None
    iv_counter_nonce: bytes | None = None
    correlation_value: bytes | None = None
    authenticated_encryption_tag: bytes | None = None


class DecryptRequest(Fields, frozen=True, kw_only=True):
    """The way back (KMIP 1.4 section 4.30)."""

    unique_identifier: str | None = None
    cryptographic_parameters: CryptographicParameters | None = None
    data: bytes | None = None
    iv_counter_nonce: bytes | None = None
    correlation_value: bytes | None = None
    init_indicator: bool | None = None
    final_indicator: bool | None = None
    authenticated_encryption_additional_data: bytes | None = None
    authenticated_encryption_tag: bytes | None = None


class DecryptResponse(Fields, frozen=True, kw_only=True):
    """What was encrypted: whatever it is, it was worth it, so nobody is shown it."""

    unique_identifier: str
    data: KeyMaterial | None = None
    correlation_value: bytes | None = None


PAYLOADS: Final[dict[Operation, tuple[type[Fields], type[Fields]]]] = {
    Operation.CREATE: (CreateRequest, CreateResponse),
    Operation.REGISTER: (RegisterRequest, RegisterResponse),
    Operation.RE_KEY: (ReKeyRequest, ReKeyResponse),
    Operation.LOCATE: (LocateRequest, LocateResponse),
    Operation.CHECK: (CheckRequest, CheckResponse),
    Operation.GET: (GetRequest, GetResponse),
    Operation.GET_ATTRIBUTES: (GetAttributesRequest, GetAttributesResponse),
    Operation.GET_ATTRIBUTE_LIST: (GetAttributeListRequest, GetAttributeListResponse),
    Operation.ADD_ATTRIBUTE: (AddAttributeRequest, AddAttributeResponse),
    Operation.MODIFY_ATTRIBUTE: (ModifyAttributeRequest, ModifyAttributeResponse),
    Operation.DELETE_ATTRIBUTE: (DeleteAttributeRequest, DeleteAttributeResponse),
    Operation.OBTAIN_LEASE: (ObtainLeaseRequest, ObtainLeaseResponse),
    Operation.GET_USAGE_ALLOCATION: (GetUsageAllocationRequest, GetUsageAllocationResponse),
    Operation.ACTIVATE: (ActivateRequest, ActivateResponse),
    Operation.REVOKE: (RevokeRequest, RevokeResponse),
    Operation.DESTROY: (DestroyRequest, DestroyResponse),
    Operation.QUERY: (QueryRequest, QueryResponse),
    Operation.DISCOVER_VERSIONS: (DiscoverVersionsRequest, DiscoverVersionsResponse),
    Operation.ENCRYPT: (EncryptRequest, EncryptResponse),
    Operation.DECRYPT: (DecryptRequest, DecryptResponse),
}
REQUESTS: Final[dict[int, type[Fields]]] = {code: pair[0] for code, pair in PAYLOADS.items()}
RESPONSES: Final[dict[int, type[Fields]]] = {code: pair[1] for code, pair in PAYLOADS.items()}
