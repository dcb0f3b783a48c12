"""Query: what the server says of itself (KMIP 1.4 section 4.25), and nothing that is not so.

No profile is claimed. Each server profile of KMIP 1.x includes the Baseline Server, which asks for
what is not built here: asymmetric keys and other objects, templates, and TLS cipher suites that
are refused as too weak. There are no application namespaces, extensions, attestation types,
validations, or ways to register a client either: a function without anything to tell adds nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from importlib import metadata
from typing import Any, Final

from protocol.errors import InvalidMessage
from protocol.kmip.enums import (
    DestroyAction,
    ObjectType,
    Operation,
    QueryFunction,
    RNGMode,
    ShreddingAlgorithm,
    UnwrapMode,
)
from protocol.kmip.payloads import QueryRequest, QueryResponse
from protocol.kmip.tags import Tag
from protocol.kmip.ttlv import Node, Type
from services.kms.endpoints.kmip import values
from services.kms.objects import implied
from services.kms.objects import request_types as o

VENDOR: Final = "keystead"
VERSION_TAG: Final = 0x540001
"""The tag of the version in Server Information, of those that a vendor may give a meaning."""

OPERATION_SINCE: Final[dict[int, int]] = {
    Operation.DISCOVER_VERSIONS: 1,
    Operation.ENCRYPT: 2,
    Operation.DECRYPT: 2,
}
"""The minor version of KMIP 1.x with which an operation came, of those that came after 1.0."""

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


def read(payload: QueryRequest) -> o.Query:
    """The request of the core; ``InvalidMessage`` without a Query Function, which is required."""
    if not payload.query_function:
        raise InvalidMessage("Query Function is missing")
    return o.Query()


def answer(functions: Collection[int], spoken: Collection[int], minor: int) -> QueryResponse:
    """An answer to each function, in a message of version 1.``minor``."""
    told: dict[str, Any] = {}
    if QueryFunction.QUERY_OPERATIONS in functions:
        known = [code for code in spoken if OPERATION_SINCE.get(code, 0) <= minor]
        told["operation"] = tuple(sorted([Operation(code) for code in known]))
    if QueryFunction.QUERY_OBJECTS in functions:
        told["object_type"] = (ObjectType.SYMMETRIC_KEY,)
    if QueryFunction.QUERY_SERVER_INFORMATION in functions:
        told["vendor_identification"] = VENDOR
        told["server_information"] = _server_information()
    if minor >= _SINCE_1_3:
        if QueryFunction.QUERY_RNGS in functions:
            told["rng_parameters"] = (values.generator(implied.OWN_GENERATOR),)
        if QueryFunction.QUERY_CAPABILITIES in functions:
            told["capability_information"] = (_capabilities(minor),)
    return QueryResponse(**told)


def _capabilities(minor: int) -> Node:
    fields = [
        Node(tag, Type.BOOLEAN, value)
        if isinstance(value, bool)
        else Node(tag, Type.ENUMERATION, int(value))
        for tag, value, since in _CAPABILITIES
        if since <= minor
    ]
    return Node(Tag.CAPABILITY_INFORMATION, Type.STRUCTURE, tuple(fields))


@cache
def _server_information() -> Node:
    version = Node(VERSION_TAG, Type.TEXT_STRING, f"{VENDOR} {metadata.version('keystead')}")
    return Node(Tag.SERVER_INFORMATION, Type.STRUCTURE, (version,))
