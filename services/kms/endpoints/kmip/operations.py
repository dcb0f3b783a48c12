"""The operations of KMIP that the door speaks: a line each, to the core's request and back.

``read`` raises the ``ProductError`` with which the item is refused: what KMIP can say of an
operation and the core cannot do is said there, before anything happens. ``write`` makes the
payload of the answer. A request that names no object means the ID Placeholder.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final, NamedTuple

import msgspec

from protocol import attributes as core
from protocol.errors import (
    FeatureNotSupported,
    InvalidField,
    ResponseTooLarge,
)
from protocol.kmip import payloads as p
from protocol.kmip.attributes import ATTRIBUTES, SINCE
from protocol.kmip.enums import ObjectGroupMember, Operation
from protocol.kmip.fields import Fields
from protocol.kmip.structures import ProtocolVersion
from protocol.terms import KeyId
from services.kms.endpoints.kmip import keys, query, values
from services.kms.objects import attribute_requests as a
from services.kms.objects import cipher_requests as c
from services.kms.objects import request_types as o
from services.kms.objects import search
from services.kms.objects import usage_requests as u
from services.kms.objects.request_checks import LOCATE_LIMIT
from services.kms.objects.request_types import CoreRequest

_NEWEST_FIRST: Final = 4
ON_LINE: Final = 1  # of a Storage Status Mask
_SECOND: Final = 1 - 1e-6
"""A moment on the wire is a whole second; the core knows parts of it."""


class AnswerContext(NamedTuple):
    """What an answer is made for: the payload of its request, in a message of 1.``minor``."""

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


def _get_attributes(payload: p.GetAttributesRequest) -> o.GetObjectAttributes:
    return o.GetObjectAttributes(
        unique_identifiers=_ids(payload), names=payload.attribute_name, required=True
    )


def _attributes(asked: AnswerContext, found: o.ObjectAttributeList) -> p.GetAttributesResponse:
    [one] = found.objects
    return p.GetAttributesResponse(
        unique_identifier=one.unique_identifier,
        attribute=values.write_known(one.attributes, asked.minor),
    )


def _add(payload: p.AddAttributeRequest) -> a.AddObjectAttribute:
    return a.AddObjectAttribute(
        unique_identifier=_id(payload),
        attribute=values.read(payload.attribute),
        indexed=payload.attribute.attribute_index is not None,
    )


def _modify(payload: p.ModifyAttributeRequest) -> a.ModifyObjectAttribute:
    return a.ModifyObjectAttribute(
        unique_identifier=_id(payload), attribute=values.read(payload.attribute)
    )


def _delete(payload: p.DeleteAttributeRequest) -> a.DeleteObjectAttribute:
    return a.DeleteObjectAttribute(
        unique_identifier=_id(payload),
        name=payload.attribute_name,
        index=payload.attribute_index or 0,
    )


def _attribute_response(
    cls: Callable[..., Fields],
) -> Callable[[AnswerContext, a.ObjectAttributeChanged], Fields]:
    return lambda asked, done: cls(
        unique_identifier=done.unique_identifier,
        attribute=values.write(done.attribute, asked.minor),
    )


def _names(asked: AnswerContext, found: a.ObjectAttributeNames) -> p.GetAttributeListResponse:
    names = [name for name in found.names if SINCE.get(name, 0) <= asked.minor]
    return p.GetAttributeListResponse(
        unique_identifier=found.unique_identifier, attribute_name=tuple(names)
    )


# ---- states ---------------------------------------------------------------------------------


def _revoke(payload: p.RevokeRequest) -> o.RevokeObject:
    why = values.revocation(payload.revocation_reason)
    occurred = payload.compromise_occurrence_date
    return o.RevokeObject(
        unique_identifier=_id(payload),
        reason=why.code,
        message=why.message,
        occurred=None if occurred is None else float(occurred),
    )


def _identifier_response(cls: Callable[..., Fields]) -> Callable[[AnswerContext, Any], Fields]:
    return lambda asked, done: cls(unique_identifier=done.unique_identifier)


# ---- how long and how much, and what follows ------------------------------------------------


def _check(payload: p.CheckRequest) -> u.CheckUsage:
    return u.CheckUsage(
        unique_identifier=_id(payload),
        usage_limits_count=payload.usage_limits_count,
        usage_mask=payload.cryptographic_usage_mask,
        lease_time=payload.lease_time,
    )


def _check_response(asked: AnswerContext, found: u.Checked) -> p.CheckResponse:
    return p.CheckResponse(
        unique_identifier=found.unique_identifier,
        usage_limits_count=found.usage_limits_count,
        cryptographic_usage_mask=found.usage_mask,
        lease_time=found.lease_time,
    )


def _lease_response(asked: AnswerContext, done: u.Lent) -> p.ObtainLeaseResponse:
    return p.ObtainLeaseResponse(
        unique_identifier=done.unique_identifier,
        lease_time=done.lease_time,
        last_change_date=int(done.last_change_date),
    )


def _allocate(payload: p.GetUsageAllocationRequest) -> u.GetUsageAllocation:
    return u.GetUsageAllocation(unique_identifier=_id(payload), count=payload.usage_limits_count)


# ---- Locate ---------------------------------------------------------------------------------


def _locate(payload: p.LocateRequest) -> o.LocateObjects:
    """Without Maximum Items all are meant: if that is more than fits, it is refused later."""
    most = LOCATE_LIMIT if payload.maximum_items is None else payload.maximum_items
    mask = payload.storage_status_mask
    wanted = (*_locate_attributes(payload), *_member(payload))
    if mask is not None and not mask & ON_LINE:
        wanted = (*wanted, core.Attribute(name="Archive Date", value=0.0))  # nothing is archived
    return o.LocateObjects(
        attributes=wanted,
        destroyed=search.asks_for_destroyed(wanted),
        offset_items=payload.offset_items or 0,
        maximum_items=min(most, LOCATE_LIMIT),
    )


def in_order(request: CoreRequest[Any], minor: int) -> CoreRequest[Any]:
    """The request in a message of version 1.``minor``: from 1.4 on, Locate finds the newest first.

    KMIP 1.4 section 4.9 says no order. OASIS's test cases do: TC-OFFSET of KMIP 1.3 has the oldest
    first, and those of 1.4 have the newest first.
    """
    if isinstance(request, o.LocateObjects) and minor >= _NEWEST_FIRST:
        return msgspec.structs.replace(request, newest_first=True)
    return request


def _member(payload: p.LocateRequest) -> tuple[core.Attribute, ...]:
    """Which members of a group: those that were given to nobody."""
    member = payload.object_group_member
    if member is None:
        return ()
    if member != ObjectGroupMember.GROUP_MEMBER_FRESH:
        raise FeatureNotSupported("Locate: groups have no default members here")
    return (core.Attribute(name="Fresh", value=True),)


def _locate_attributes(payload: p.LocateRequest) -> tuple[core.Attribute, ...]:
    """A date that is asked for once is all of its second; twice, it ends with one. ``InvalidField``
    for a name that KMIP does not have (KMIP 1.4 section 11.10)."""
    for name in [one.attribute_name for one in payload.attribute]:
        if name not in ATTRIBUTES and not name.startswith(("x-", "y-")):
            raise InvalidField(f"Locate: KMIP has no attribute {name[:64]}")
    found = [values.read(one) for one in payload.attribute]
    for name in dict.fromkeys(one.name for one in found if one.name in values.DATES):
        dates = sorted([float(one.value) for one in found if one.name == name])  # type: ignore[arg-type]
        if len(dates) > 2:
            raise InvalidField(f"Locate: {name} is asked for twice at most, as a range")
        found = [one for one in found if one.name != name]
        found += [
            core.Attribute(name=name, value=moment) for moment in (dates[0], dates[-1] + _SECOND)
        ]
    return tuple(found)


def _locate_response(asked: AnswerContext, found: o.LocatedObjects) -> p.LocateResponse:
    given = found.unique_identifiers
    left = found.total - (asked.payload.offset_items or 0)
    if len(given) < left and len(given) == LOCATE_LIMIT:
        raise ResponseTooLarge(f"{left} keys are found, {LOCATE_LIMIT} fit: give Maximum Items")
    return p.LocateResponse(
        located_items=found.total if asked.minor >= 3 else None, unique_identifier=given
    )


# ---- data -----------------------------------------------------------------------------------


def _one_piece(payload: Any) -> Any:
    """The payload, if it is all of the data; ``FeatureNotSupported`` for a part of it."""
    if payload.correlation_value is not None or payload.init_indicator is not None:
        raise FeatureNotSupported("data comes in one piece here")
    if payload.final_indicator is not None:
        raise FeatureNotSupported("data comes in one piece here")
    if payload.data is None:
        raise InvalidField("Data: there is none")
    return payload


def _parameters(payload: Any) -> core.CryptographicParameters | None:
    given = payload.cryptographic_parameters
    return None if given is None else values.parameters(given)


def _encrypt(payload: p.EncryptRequest) -> c.EncryptData:
    return c.EncryptData(
        unique_identifier=_id(payload),
        parameters=_parameters(payload),
        data=_one_piece(payload).data,
        iv=payload.iv_counter_nonce,
        additional_data=payload.authenticated_encryption_additional_data or b"",
    )


def _encrypt_response(asked: AnswerContext, done: c.EncryptedData) -> p.EncryptResponse:
    return p.EncryptResponse(
        unique_identifier=done.unique_identifier,
        data=done.data,
        iv_counter_nonce=done.iv,
        authenticated_encryption_tag=done.tag or None,
    )


def _decrypt(payload: p.DecryptRequest) -> c.DecryptData:
    return c.DecryptData(
        unique_identifier=_id(payload),
        parameters=_parameters(payload),
        data=_one_piece(payload).data,
        iv=payload.iv_counter_nonce or b"",
        additional_data=payload.authenticated_encryption_additional_data or b"",
        tag=payload.authenticated_encryption_tag or b"",
    )


def _decrypt_response(asked: AnswerContext, done: c.DecryptedData) -> p.DecryptResponse:
    return p.DecryptResponse(unique_identifier=done.unique_identifier, data=done.data)


# ---- versions -------------------------------------------------------------------------------


def _versions(asked: AnswerContext, found: o.Versions) -> p.DiscoverVersionsResponse:
    """The server's own order; only those that the client gave, when it gave any."""
    given = asked.payload.protocol_version
    own = _versions_of(found.versions)
    return p.DiscoverVersionsResponse(
        protocol_version=tuple([one for one in own if not given or one in given])
    )


@cache
def _versions_of(texts: tuple[str, ...]) -> tuple[ProtocolVersion, ...]:
    return tuple([version_of(text) for text in texts])


def version_of(text: str) -> ProtocolVersion:
    """The version that is written like that."""
    major, minor = text.split(".")
    return ProtocolVersion(protocol_version_major=int(major), protocol_version_minor=int(minor))


SPOKEN: Final[dict[int, Spoken]] = {
    Operation.DISCOVER_VERSIONS: Spoken(lambda _: o.DiscoverServerVersions(), _versions),
    Operation.QUERY: Spoken(
        query.read,
        lambda asked, _: query.answer(asked.payload.query_function, SPOKEN, asked.minor),
    ),
    Operation.CREATE: Spoken(keys.create, keys.create_response),
    Operation.REGISTER: Spoken(keys.register, keys.register_response),
    Operation.GET: Spoken(keys.get, keys.got),
    Operation.GET_ATTRIBUTES: Spoken(_get_attributes, _attributes),
    Operation.GET_ATTRIBUTE_LIST: Spoken(
        lambda payload: a.ListObjectAttributes(unique_identifier=_id(payload)), _names
    ),
    Operation.ADD_ATTRIBUTE: Spoken(_add, _attribute_response(p.AddAttributeResponse)),
    Operation.MODIFY_ATTRIBUTE: Spoken(_modify, _attribute_response(p.ModifyAttributeResponse)),
    Operation.DELETE_ATTRIBUTE: Spoken(_delete, _attribute_response(p.DeleteAttributeResponse)),
    Operation.ACTIVATE: Spoken(
        lambda payload: o.ActivateObject(unique_identifier=_id(payload)),
        _identifier_response(p.ActivateResponse),
    ),
    Operation.REVOKE: Spoken(_revoke, _identifier_response(p.RevokeResponse)),
    Operation.DESTROY: Spoken(
        lambda payload: o.DestroyObject(unique_identifier=_id(payload)),
        _identifier_response(p.DestroyResponse),
    ),
    Operation.LOCATE: Spoken(_locate, _locate_response),
    Operation.RE_KEY: Spoken(keys.rekey, _identifier_response(p.ReKeyResponse)),
    Operation.CHECK: Spoken(_check, _check_response),
    Operation.OBTAIN_LEASE: Spoken(
        lambda payload: u.ObtainLease(unique_identifier=_id(payload)), _lease_response
    ),
    Operation.GET_USAGE_ALLOCATION: Spoken(
        _allocate, _identifier_response(p.GetUsageAllocationResponse)
    ),
    Operation.ENCRYPT: Spoken(_encrypt, _encrypt_response),
    Operation.DECRYPT: Spoken(_decrypt, _decrypt_response),
}
"""The one place to touch for an operation; Query tells of exactly these."""
