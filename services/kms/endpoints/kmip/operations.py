"""The operations of KMIP that the endpoint implements: a line each, to the core's request and back.

``read`` raises the ``ProductError`` with which the item is refused: features of KMIP that the core
lacks are refused there, before anything happens. ``write`` builds the payload of the answer. A
request that names no object means the ID Placeholder.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache
from importlib import metadata
from typing import Any, Final, NamedTuple

import msgspec

from protocol import attributes as core
from protocol.errors import (
    FeatureNotSupported,
    InvalidField,
    InvalidMessage,
    ResponseTooLarge,
)
from protocol.kmip import payloads as p
from protocol.kmip.enums import (
    DestroyAction,
    ObjectGroupMember,
    ObjectType,
    Operation,
    QueryFunction,
    RNGMode,
    ShreddingAlgorithm,
    UnwrapMode,
)
from protocol.kmip.fields import Fields
from protocol.kmip.objects import ATTRIBUTES, SINCE, ProtocolVersion
from protocol.kmip.payloads import QueryRequest, QueryResponse
from protocol.kmip.tags import Tag
from protocol.kmip.ttlv import TtlvItem, Type
from protocol.terms import KeyId
from services.kms.endpoints.kmip import keys, values
from services.kms.objects import key_row, search
from services.kms.objects import request_types as r
from services.kms.objects.request_checks import LOCATE_LIMIT
from services.kms.objects.request_types import CoreRequest

_NEWEST_FIRST: Final = 4
ON_LINE: Final = 1  # of a Storage Status Mask
_SECOND: Final = 1 - 1e-6
"""Times on the wire are whole seconds; the core has fractions of them."""


class AnswerContext(NamedTuple):
    """The context of an answer: the payload of its request, and the version 1.``minor`` of the
    message."""

    payload: Any
    minor: int


class Spoken(NamedTuple):
    """One operation."""

    read: Callable[[Any], CoreRequest[Any]]
    write: Callable[[AnswerContext, Any], Fields]


def _id(payload: Any) -> KeyId | None:
    return None if payload.unique_identifier is None else KeyId(payload.unique_identifier)


def _ids(payload: Any) -> tuple[KeyId, ...] | None:
    named = _id(payload)
    return None if named is None else (named,)


# ---- attributes -----------------------------------------------------------------------------


def _get_attributes(payload: p.GetAttributesRequest) -> r.GetObjectAttributes:
    return r.GetObjectAttributes(
        unique_identifiers=_ids(payload), names=payload.attribute_name, required=True
    )


def _attributes(context: AnswerContext, found: r.ObjectAttributeList) -> p.GetAttributesResponse:
    [one] = found.objects
    return p.GetAttributesResponse(
        unique_identifier=one.unique_identifier,
        attribute=values.write_known(one.attributes, context.minor),
    )


def _add(payload: p.AddAttributeRequest) -> r.AddObjectAttribute:
    return r.AddObjectAttribute(
        unique_identifier=_id(payload),
        attribute=values.read(payload.attribute),
        indexed=payload.attribute.attribute_index is not None,
    )


def _modify(payload: p.ModifyAttributeRequest) -> r.ModifyObjectAttribute:
    return r.ModifyObjectAttribute(
        unique_identifier=_id(payload), attribute=values.read(payload.attribute)
    )


def _delete(payload: p.DeleteAttributeRequest) -> r.DeleteObjectAttribute:
    return r.DeleteObjectAttribute(
        unique_identifier=_id(payload),
        name=payload.attribute_name,
        index=payload.attribute_index or 0,
    )


def _attribute_response(
    cls: Callable[..., Fields],
) -> Callable[[AnswerContext, r.ObjectAttributeChanged], Fields]:
    return lambda asked, done: cls(
        unique_identifier=done.unique_identifier,
        attribute=values.write(done.attribute, asked.minor),
    )


def _names(context: AnswerContext, found: r.ObjectAttributeNames) -> p.GetAttributeListResponse:
    names = [name for name in found.names if SINCE.get(name, 0) <= context.minor]
    return p.GetAttributeListResponse(
        unique_identifier=found.unique_identifier, attribute_name=tuple(names)
    )


# ---- states ---------------------------------------------------------------------------------


def _revoke(payload: p.RevokeRequest) -> r.RevokeObject:
    why = values.revocation(payload.revocation_reason)
    occurred = payload.compromise_occurrence_date
    return r.RevokeObject(
        unique_identifier=_id(payload),
        reason=why.code,
        message=why.message,
        occurred=None if occurred is None else float(occurred),
    )


def _identifier_response(cls: Callable[..., Fields]) -> Callable[[AnswerContext, Any], Fields]:
    return lambda asked, done: cls(unique_identifier=done.unique_identifier)


# ---- leases, usage limits, Check, Re-key -----------------------------------------------------


def _check(payload: p.CheckRequest) -> r.CheckUsage:
    return r.CheckUsage(
        unique_identifier=_id(payload),
        usage_limits_count=payload.usage_limits_count,
        usage_mask=payload.cryptographic_usage_mask,
        lease_time=payload.lease_time,
    )


def _check_response(context: AnswerContext, found: r.Checked) -> p.CheckResponse:
    return p.CheckResponse(
        unique_identifier=found.unique_identifier,
        usage_limits_count=found.usage_limits_count,
        cryptographic_usage_mask=found.usage_mask,
        lease_time=found.lease_time,
    )


def _lease_response(context: AnswerContext, done: r.Lent) -> p.ObtainLeaseResponse:
    return p.ObtainLeaseResponse(
        unique_identifier=done.unique_identifier,
        lease_time=done.lease_time,
        last_change_date=int(done.last_change_date),
    )


def _allocate(payload: p.GetUsageAllocationRequest) -> r.GetUsageAllocation:
    return r.GetUsageAllocation(unique_identifier=_id(payload), count=payload.usage_limits_count)


# ---- Locate ---------------------------------------------------------------------------------


def _locate(payload: p.LocateRequest) -> r.LocateObjects:
    """Without Maximum Items all keys are meant; more than fit are refused later."""
    most = LOCATE_LIMIT if payload.maximum_items is None else payload.maximum_items
    mask = payload.storage_status_mask
    wanted = (*_locate_attributes(payload), *_member(payload))
    if mask is not None and not mask & ON_LINE:
        wanted = (*wanted, core.Attribute(name="Archive Date", value=0.0))  # nothing is archived
    return r.LocateObjects(
        attributes=wanted,
        destroyed=search.includes_destroyed(wanted),
        offset_items=payload.offset_items or 0,
        maximum_items=min(most, LOCATE_LIMIT),
    )


def in_order(request: CoreRequest[Any], minor: int) -> CoreRequest[Any]:
    """The request in a message of version 1.``minor``: from 1.4 on, Locate finds the newest first.

    KMIP 1.4 section 4.9 defines no order. OASIS's test cases do: TC-OFFSET of KMIP 1.3 has the
    oldest first, those of 1.4 have the newest first.
    """
    if isinstance(request, r.LocateObjects) and minor >= _NEWEST_FIRST:
        return msgspec.structs.replace(request, newest_first=True)
    return request


def _member(payload: p.LocateRequest) -> tuple[core.Attribute, ...]:
    """The members of a group that are meant: those whose material was given to no client."""
    member = payload.object_group_member
    if member is None:
        return ()
    if member != ObjectGroupMember.GROUP_MEMBER_FRESH:
        raise FeatureNotSupported("Locate: groups have no default members here")
    return (core.Attribute(name="Fresh", value=True),)


def _locate_attributes(payload: p.LocateRequest) -> tuple[core.Attribute, ...]:
    """A date that is given once means all of its second; given twice, a range. ``InvalidField`` for
    a name that KMIP does not have (KMIP 1.4 section 11.10)."""
    for name in [one.attribute_name for one in payload.attribute]:
        if name not in ATTRIBUTES and not name.startswith(("x-", "y-")):
            raise InvalidField(f"Locate: KMIP has no attribute {name[:64]}")
    found = [values.read(one) for one in payload.attribute]
    for name in dict.fromkeys(one.name for one in found if one.name in values.DATES):
        dates = sorted([float(one.value) for one in found if one.name == name])  # type: ignore[arg-type]
        if len(dates) > 2:
            raise InvalidField(f"Locate: {name} may appear twice at most, as a range")
        found = [one for one in found if one.name != name]
        found += [
            core.Attribute(name=name, value=moment) for moment in (dates[0], dates[-1] + _SECOND)
        ]
    return tuple(found)


def _locate_response(context: AnswerContext, found: r.LocatedObjects) -> p.LocateResponse:
    given = found.unique_identifiers
    left = found.total - (context.payload.offset_items or 0)
    if len(given) < left and len(given) == LOCATE_LIMIT:
        raise ResponseTooLarge(f"{left} keys are found, {LOCATE_LIMIT} fit: give Maximum Items")
    return p.LocateResponse(
        located_items=found.total if context.minor >= 3 else None, unique_identifier=given
    )


# ---- data -----------------------------------------------------------------------------------


def _one_piece(payload: Any) -> Any:
    """The payload, if it has all of the data; ``FeatureNotSupported`` for a part of it."""
    if payload.correlation_value is not None or payload.init_indicator is not None:
        raise FeatureNotSupported("data comes in one piece here")
    if payload.final_indicator is not None:
        raise FeatureNotSupported("data comes in one piece here")
    if payload.data is None:
        raise InvalidField("Data: there is none")
    return payload


def _parameters(payload: Any) -> core.CryptographicParametersValue | None:
    given = payload.cryptographic_parameters
    return None if given is None else values.parameters(given)


def _encrypt(payload: p.EncryptRequest) -> r.EncryptData:
    return r.EncryptData(
        unique_identifier=_id(payload),
        parameters=_parameters(payload),
        data=_one_piece(payload).data,
        iv=payload.iv_counter_nonce,
        additional_data=payload.authenticated_encryption_additional_data or b"",
    )


def _encrypt_response(context: AnswerContext, done: r.EncryptedData) -> p.EncryptResponse:
    return p.EncryptResponse(
        unique_identifier=done.unique_identifier,
        data=done.data,
        iv_counter_nonce=done.iv,
        authenticated_encryption_tag=done.tag or None,
    )


def _decrypt(payload: p.DecryptRequest) -> r.DecryptData:
    return r.DecryptData(
        unique_identifier=_id(payload),
        parameters=_parameters(payload),
        data=_one_piece(payload).data,
        iv=payload.iv_counter_nonce or b"",
        additional_data=payload.authenticated_encryption_additional_data or b"",
        tag=payload.authenticated_encryption_tag or b"",
    )


def _decrypt_response(context: AnswerContext, done: r.DecryptedData) -> p.DecryptResponse:
    return p.DecryptResponse(unique_identifier=done.unique_identifier, data=done.data)


# ---- versions -------------------------------------------------------------------------------


def _versions(context: AnswerContext, found: r.Versions) -> p.DiscoverVersionsResponse:
    """The server's own order; if the client sent versions, only those."""
    given = context.payload.protocol_version
    own = _versions_of(found.versions)
    return p.DiscoverVersionsResponse(
        protocol_version=tuple([one for one in own if not given or one in given])
    )


@cache
def _versions_of(texts: tuple[str, ...]) -> tuple[ProtocolVersion, ...]:
    return tuple([version_of(text) for text in texts])


def version_of(text: str) -> ProtocolVersion:
    """The version in this notation."""
    major, minor = text.split(".")
    return ProtocolVersion(protocol_version_major=int(major), protocol_version_minor=int(minor))


# ---- Query (KMIP 1.4 section 4.25) ---------------------------------------------------------------
# No profile is claimed. Each server profile of KMIP 1.x includes the Baseline Server, which needs
# what is not built here: asymmetric keys and other objects, templates, and TLS cipher suites that
# are refused as too weak. There are no application namespaces, extensions, attestation types,
# validations, or ways to register a client: those functions of Query add nothing.


VENDOR: Final = "keystead"
VERSION_TAG: Final = 0x540001
"""The tag of the version in Server Information, one of the tags reserved for vendors."""

OPERATION_SINCE: Final[dict[int, int]] = {
    Operation.DISCOVER_VERSIONS: 1,
    Operation.ENCRYPT: 2,
    Operation.DECRYPT: 2,
}
"""The minor version of KMIP 1.x that introduced an operation, for those later than 1.0."""

_SINCE_1_3, _SINCE_1_4 = 3, 4
_CAPABILITIES: Final = (
    (Tag.STREAMING_CAPABILITY, False, _SINCE_1_3),
    (Tag.ASYNCHRONOUS_CAPABILITY, False, _SINCE_1_3),
    (Tag.ATTESTATION_CAPABILITY, False, _SINCE_1_3),
    (Tag.BATCH_UNDO_CAPABILITY, True, _SINCE_1_4),
    (Tag.BATCH_CONTINUE_CAPABILITY, True, _SINCE_1_4),
    (Tag.UNWRAP_MODE, UnwrapMode.UNSPECIFIED, _SINCE_1_3),  # keys do not arrive wrapped
    (Tag.DESTROY_ACTION, DestroyAction.UNSPECIFIED, _SINCE_1_3),
    (Tag.SHREDDING_ALGORITHM, ShreddingAlgorithm.UNSPECIFIED, _SINCE_1_3),
    (Tag.RNG_MODE, RNGMode.UNSPECIFIED, _SINCE_1_3),
)


def read_query(payload: QueryRequest) -> r.Query:
    """The core's request; ``InvalidMessage`` without a Query Function, which is required."""
    if not payload.query_function:
        raise InvalidMessage("Query Function is missing")
    return r.Query()


def answer_query(functions: Collection[int], spoken: Collection[int], minor: int) -> QueryResponse:
    """The answer to each function, in a message of version 1.``minor``."""
    fields: dict[str, Any] = {}
    if QueryFunction.QUERY_OPERATIONS in functions:
        known = [code for code in spoken if OPERATION_SINCE.get(code, 0) <= minor]
        fields["operation"] = tuple(sorted([Operation(code) for code in known]))
    if QueryFunction.QUERY_OBJECTS in functions:
        fields["object_type"] = (ObjectType.SYMMETRIC_KEY,)
    if QueryFunction.QUERY_SERVER_INFORMATION in functions:
        fields["vendor_identification"] = VENDOR
        fields["server_information"] = _server_information()
    if minor >= _SINCE_1_3:
        if QueryFunction.QUERY_RNGS in functions:
            fields["rng_parameters"] = (values.generator(key_row.OWN_GENERATOR),)
        if QueryFunction.QUERY_CAPABILITIES in functions:
            fields["capability_information"] = (_capabilities(minor),)
    return QueryResponse(**fields)


def _capabilities(minor: int) -> TtlvItem:
    fields = [
        TtlvItem(tag, Type.BOOLEAN, value)
        if isinstance(value, bool)
        else TtlvItem(tag, Type.ENUMERATION, int(value))
        for tag, value, since in _CAPABILITIES
        if since <= minor
    ]
    return TtlvItem(Tag.CAPABILITY_INFORMATION, Type.STRUCTURE, tuple(fields))


@cache
def _server_information() -> TtlvItem:
    version = TtlvItem(VERSION_TAG, Type.TEXT_STRING, f"{VENDOR} {metadata.version('keystead')}")
    return TtlvItem(Tag.SERVER_INFORMATION, Type.STRUCTURE, (version,))


SPOKEN: Final[dict[int, Spoken]] = {
    Operation.DISCOVER_VERSIONS: Spoken(lambda _: r.DiscoverServerVersions(), _versions),
    Operation.QUERY: Spoken(
        read_query,
        lambda asked, _: answer_query(asked.payload.query_function, SPOKEN, asked.minor),
    ),
    Operation.CREATE: Spoken(keys.create, keys.create_response),
    Operation.REGISTER: Spoken(keys.register, keys.register_response),
    Operation.GET: Spoken(keys.get, keys.get_response),
    Operation.GET_ATTRIBUTES: Spoken(_get_attributes, _attributes),
    Operation.GET_ATTRIBUTE_LIST: Spoken(
        lambda payload: r.ListObjectAttributes(unique_identifier=_id(payload)), _names
    ),
    Operation.ADD_ATTRIBUTE: Spoken(_add, _attribute_response(p.AddAttributeResponse)),
    Operation.MODIFY_ATTRIBUTE: Spoken(_modify, _attribute_response(p.ModifyAttributeResponse)),
    Operation.DELETE_ATTRIBUTE: Spoken(_delete, _attribute_response(p.DeleteAttributeResponse)),
    Operation.ACTIVATE: Spoken(
        lambda payload: r.ActivateObject(unique_identifier=_id(payload)),
        _identifier_response(p.ActivateResponse),
    ),
    Operation.REVOKE: Spoken(_revoke, _identifier_response(p.RevokeResponse)),
    Operation.DESTROY: Spoken(
        lambda payload: r.DestroyObject(unique_identifier=_id(payload)),
        _identifier_response(p.DestroyResponse),
    ),
    Operation.LOCATE: Spoken(_locate, _locate_response),
    Operation.RE_KEY: Spoken(keys.rekey, _identifier_response(p.ReKeyResponse)),
    Operation.CHECK: Spoken(_check, _check_response),
    Operation.OBTAIN_LEASE: Spoken(
        lambda payload: r.ObtainLease(unique_identifier=_id(payload)), _lease_response
    ),
    Operation.GET_USAGE_ALLOCATION: Spoken(
        _allocate, _identifier_response(p.GetUsageAllocationResponse)
    ),
    Operation.ENCRYPT: Spoken(_encrypt, _encrypt_response),
    Operation.DECRYPT: Spoken(_decrypt, _decrypt_response),
}
"""The only place to add an operation; Query reports exactly these."""
