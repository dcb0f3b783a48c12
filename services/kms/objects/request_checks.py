"""Checks of a request before the store is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from protocol.errors import InvalidField, ProductError
from services.kms.objects import algorithms, attributes, request_types, search
from services.kms.objects.request_types import CoreRequest

LIST_LIMIT: Final = 1000
LOCATE_LIMIT: Final = 10_000
"""Ids in one answer: half a mebibyte of them on the wire of KMIP."""

OPERATION_ID_LIMIT: Final = 128
ITEMS_LIMIT: Final = 1000
"""Items of one message: each is executed on the drafts of the items before it."""


def check(requests: Sequence[CoreRequest[Any]]) -> None:
    """``InvalidField`` for the first error in a message that is executed whole or not at all."""
    made = False
    for request in requests:
        found = flaw(request)
        if found is not None:
            raise found
        if type(request) is request_types.QueryAuditTrail and len(requests) > 1:
            raise InvalidField("Query Audit is no part of a batch")
        made = made or isinstance(request, request_types.NewKey | request_types.LocateObjects)
        if request.needs_placeholder and not made:
            raise InvalidField(f"{request.operation} names no key, and none was created before")


def flaw(request: CoreRequest[Any]) -> ProductError | None:
    """The error of a request by itself; None when it is valid."""
    check_one = _CHECKS.get(type(request))
    if check_one is None:
        return None
    try:
        check_one(request)
    except ProductError as error:
        return error
    return None


def _check_kind(request: request_types.NewKey) -> None:
    if len(request.operation_id) > OPERATION_ID_LIMIT:
        raise InvalidField(f"operation_id: {OPERATION_ID_LIMIT} characters at most")
    size = algorithms.key_size(request.algorithm, request.length, request.usage_mask)
    if isinstance(request, request_types.Register) and len(request.material) != size:
        text = f"a key of {request.length} bits has {size} bytes, not {len(request.material)}"
        raise InvalidField(text)


def _check_revocation(request: request_types.RevokeObject) -> None:
    if len(request.message) > attributes.MESSAGE_LIMIT:
        raise InvalidField(f"a revocation's message: {attributes.MESSAGE_LIMIT} characters at most")
    if request.occurred is not None:
        attributes.check_date(attributes.OCCURRENCE, request.occurred)


def check_limit(limit: int, most: int = LIST_LIMIT) -> None:
    """``InvalidField`` when the limit of a list is below one or too large."""
    if not 1 <= limit <= most:
        raise InvalidField(f"limit {limit}: 1 to {most}")


def _check_locate(request: request_types.LocateObjects) -> None:
    check_limit(request.maximum_items, LOCATE_LIMIT)
    if not 0 <= request.offset_items < 2**31:
        raise InvalidField(f"offset {request.offset_items}: 0 or above")
    search.check(request.attributes)


def _check_audit(request: request_types.QueryAuditTrail) -> None:
    check_limit(request.maximum_items)
    if not 0 <= request.after < 2**63:
        raise InvalidField("after: a row number is meant")


def _refuse(request: request_types.UnreadRequest) -> None:
    raise request.error


_CHECKS: Final[dict[type[CoreRequest[Any]], Callable[[Any], None]]] = {
    request_types.Create: _check_kind,
    request_types.Register: _check_kind,
    request_types.RevokeObject: _check_revocation,
    request_types.LocateObjects: _check_locate,
    request_types.QueryAuditTrail: _check_audit,
    request_types.UnreadRequest: _refuse,
}
