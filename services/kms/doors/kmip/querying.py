"""Query: what the server says of itself (KMIP 1.4 section 4.25), and nothing that is not so."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from protocol.kmip.enums import ObjectType, Operation, QueryFunction
from protocol.kmip.payloads import QueryResponse
from protocol.kmip.tags import Tag
from protocol.kmip.ttlv import Node, Type

VENDOR: Final = "keystead"
_SINCE_1_3: Final = 3
_CAPABILITIES: Final = (
    (Tag.STREAMING_CAPABILITY, False),
    (Tag.ASYNCHRONOUS_CAPABILITY, False),
    (Tag.ATTESTATION_CAPABILITY, False),
    (Tag.BATCH_UNDO_CAPABILITY, True),
    (Tag.BATCH_CONTINUE_CAPABILITY, True),
)


def answer(functions: Collection[int], spoken: Collection[int], minor: int) -> QueryResponse:
    """An answer to each function; a function that has nothing to tell adds nothing.

    There are no application namespaces, extensions, attestation types, random number generators
    to choose from, validations, claims of a profile, or ways to register a client.
    """
    told: dict[str, Any] = {}
    if QueryFunction.QUERY_OPERATIONS in functions:
        told["operation"] = tuple(sorted([Operation(code) for code in spoken]))
    if QueryFunction.QUERY_OBJECTS in functions:
        told["object_type"] = (ObjectType.SYMMETRIC_KEY,)
    if QueryFunction.QUERY_SERVER_INFORMATION in functions:
        told["vendor_identification"] = VENDOR
    if QueryFunction.QUERY_CAPABILITIES in functions and minor >= _SINCE_1_3:
        told["capability_information"] = (
            Node(
                Tag.CAPABILITY_INFORMATION,
                Type.STRUCTURE,
                tuple([Node(tag, Type.BOOLEAN, value) for tag, value in _CAPABILITIES]),
            ),
        )
    return QueryResponse(**told)
