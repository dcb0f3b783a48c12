"""How much room the answer to a message takes at least, known before anything of it is done.

A change is never done and then told as failed, because its answer is larger than the client takes
(Maximum Response Size): such a message is refused before. Answers to questions give way to a
refusal instead, which changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from protocol import attributes as core
from protocol.kmip.enums import Operation, ResultReason
from protocol.kmip.message import RequestMessage, ResponseItem
from services.kms.audit.audit_trail import CHANGING
from services.kms.endpoints.kmip.items import failure_item, outcome
from services.kms.endpoints.kmip.operations import SPOKEN
from services.kms.objects import request_types
from services.kms.objects.request_types import CoreRequest
from services.kms.operations.batches import Item

CHANGES: Final = frozenset(
    code for code in SPOKEN if Operation(code).name in {one.name for one in CHANGING}
)
"""Operations of KMIP that change what is kept."""
LONGEST_ID: Final = "f" * 36
"""As long as the Unique Identifiers that are drawn here (``services.kms.objects.identifiers``)."""
ANSWER_MORE: Final = 320
"""Bytes that the answer to an item is larger at most than the item."""
_TEXT: Final = "the answer has 1000000 bytes; at most 1000000 are taken"


class _Done(NamedTuple):
    """What the answers to changes are made of, as far as their size goes."""

    unique_identifier: str
    attribute: core.Attribute | None


def least(
    message: RequestMessage,
    requests: Sequence[CoreRequest[Any]],
    size_of: Callable[[Sequence[ResponseItem]], int],
) -> int:
    """Bytes of the answer in which all changes have gone well, and everything else gave way; 0 for
    a message that changes nothing. A new attribute is counted with an index, and one that is
    deleted without its value."""
    if all(request.operation not in CHANGING for request in requests):
        return 0
    minor = message.request_header.protocol_version.protocol_version_minor
    expected = []
    for item, request in zip(message.batch_item, requests, strict=True):
        if request.operation in CHANGING:
            expected.append(outcome(item, Item(_build_done(request)), minor))  # type: ignore[arg-type]
        else:
            expected.append(failure_item(item, ResultReason.RESPONSE_TOO_LARGE, _TEXT))
    return size_of(expected)


def _build_done(request: CoreRequest[Any]) -> _Done:
    attribute: core.Attribute | None = getattr(request, "attribute", None)
    if attribute is not None:
        attribute = msgspec.structs.replace(attribute, index=attribute.index or 1)
    elif isinstance(request, request_types.DeleteObjectAttribute):
        attribute = core.Attribute(name=request.name, value="", index=request.index)
    return _Done(getattr(request, "unique_identifier", None) or LONGEST_ID, attribute)
