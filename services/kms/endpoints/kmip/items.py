"""One item of a KMIP message to a request of the core, and its outcome back to an item, with a
Result Reason for each error of the core (KMIP 1.4 section 9.1.3.2.29); and which messages are
refused as a whole. Pure.
"""

from __future__ import annotations

from typing import Any, Final

from protocol import terms
from protocol.errors import (
    FeatureNotSupported,
    InvalidField,
    InvalidMessage,
    OperationNotSupported,
    ProductError,
)
from protocol.kmip.enums import BatchErrorContinuationOption, Operation, ResultReason, ResultStatus
from protocol.kmip.fields import Unread
from protocol.kmip.message import RequestItem, RequestMessage, ResponseItem
from protocol.kmip.objects import ProtocolVersion
from services.kms.endpoints.kmip.operations import SPOKEN, AnswerContext, in_order, version_of
from services.kms.objects.request_checks import ITEMS_LIMIT
from services.kms.objects.request_types import CoreRequest
from services.kms.objects.request_types import UnreadRequest as UnreadRequest
from services.kms.operations.batches import Continuation, Item
from services.kms.operations.execution import VERSIONS

REASONS: Final[dict[terms.ResultReason, ResultReason]] = {
    terms.ResultReason.ITEM_NOT_FOUND: ResultReason.ITEM_NOT_FOUND,
    terms.ResultReason.RESPONSE_TOO_LARGE: ResultReason.RESPONSE_TOO_LARGE,
    terms.ResultReason.INVALID_MESSAGE: ResultReason.INVALID_MESSAGE,
    terms.ResultReason.INVALID_FIELD: ResultReason.INVALID_FIELD,
    terms.ResultReason.OPERATION_NOT_SUPPORTED: ResultReason.OPERATION_NOT_SUPPORTED,
    terms.ResultReason.FEATURE_NOT_SUPPORTED: ResultReason.FEATURE_NOT_SUPPORTED,
    terms.ResultReason.KEY_FORMAT_TYPE_NOT_SUPPORTED: ResultReason.KEY_FORMAT_TYPE_NOT_SUPPORTED,
    terms.ResultReason.KEY_COMPRESSION_TYPE_NOT_SUPPORTED: (
        ResultReason.KEY_COMPRESSION_TYPE_NOT_SUPPORTED
    ),
    terms.ResultReason.CRYPTOGRAPHIC_FAILURE: ResultReason.CRYPTOGRAPHIC_FAILURE,
    terms.ResultReason.ILLEGAL_OPERATION: ResultReason.ILLEGAL_OPERATION,
    terms.ResultReason.AUTHENTICATION_NOT_SUCCESSFUL: (ResultReason.AUTHENTICATION_NOT_SUCCESSFUL),
    terms.ResultReason.PERMISSION_DENIED: ResultReason.PERMISSION_DENIED,
    terms.ResultReason.INDEX_OUT_OF_BOUNDS: ResultReason.INDEX_OUTOF_BOUNDS,
    # KMIP 1.x has no reason of its own for a state that does not allow an operation.
    terms.ResultReason.WRONG_KEY_LIFECYCLE_STATE: ResultReason.PERMISSION_DENIED,
    terms.ResultReason.ENCODING_OPTION_ERROR: ResultReason.ENCODING_OPTION_ERROR,
    terms.ResultReason.SENSITIVE: ResultReason.SENSITIVE,
    terms.ResultReason.NOT_EXTRACTABLE: ResultReason.NOT_EXTRACTABLE,
    terms.ResultReason.GENERAL_FAILURE: ResultReason.GENERAL_FAILURE,
}
"""By the reason of each ``ProductError``; errors without a counterpart in KMIP are General
Failure."""


_SINCE_1_4: Final = (ResultReason.SENSITIVE, ResultReason.NOT_EXTRACTABLE)


def reason_of(error: ProductError, minor: int) -> ResultReason:
    """The reason of a failed item in a message of version 1.``minor``."""
    reason = REASONS[error.reason]
    return ResultReason.PERMISSION_DENIED if reason in _SINCE_1_4 and minor < 4 else reason


NEWEST: Final = version_of(VERSIONS[0])
_SPOKEN_VERSIONS: Final = tuple(version_of(text) for text in VERSIONS)
_OPTIONS: Final[dict[int, Continuation]] = {
    BatchErrorContinuationOption.CONTINUE: Continuation.CONTINUE,
    BatchErrorContinuationOption.STOP: Continuation.STOP,
    BatchErrorContinuationOption.UNDO: Continuation.UNDO,
}


class RefusedMessage(Exception):
    """A message that is refused as a whole; ``version`` is that of the answer."""

    def __init__(self, reason: ResultReason, text: str, version: ProtocolVersion = NEWEST) -> None:
        super().__init__(text)
        self.reason, self.version = reason, version


def check_message(message: RequestMessage) -> Continuation:
    """The Batch Error Continuation of a message; ``RefusedMessage`` for a message that is refused
    as a whole."""
    header, items = message.request_header, message.batch_item
    if header.protocol_version not in _SPOKEN_VERSIONS:
        text = f"KMIP {', '.join(VERSIONS)} are spoken here"
        raise RefusedMessage(ResultReason.INVALID_MESSAGE, text)
    version = header.protocol_version
    if header.asynchronous_indicator:
        text = "everything is answered at once here"
        raise RefusedMessage(ResultReason.FEATURE_NOT_SUPPORTED, text, version)
    for credential in header.authentication.credential if header.authentication else ():
        if isinstance(credential.credential_value, Unread):
            unread = credential.credential_value
            raise RefusedMessage(unread.reason, unread.text, version)
    why = ""
    ids = [item.unique_batch_item_id for item in items]
    if not items:
        why = "there is no item in it"
    elif len(items) > ITEMS_LIMIT:
        why = f"there are {len(items)} items in it: at most {ITEMS_LIMIT}"
    elif len(items) > 1 and None in ids:
        why = "an item of several has a Unique Batch Item ID"
    elif len(set(ids)) < len(ids):
        why = "two items have the same Unique Batch Item ID"
    option = header.batch_error_continuation_option
    chosen = Continuation.STOP if option is None else _OPTIONS.get(option)
    if chosen is None:
        why = f"Batch Error Continuation Option: {option} has no meaning"
    if why or chosen is None:
        raise RefusedMessage(ResultReason.INVALID_MESSAGE, why, version)
    return chosen


def request_of(item: RequestItem, minor: int) -> CoreRequest[Any]:
    """The core's request for an item of a message of version 1.``minor``. An invalid item becomes a
    request that the core refuses in its turn."""
    try:
        extension = item.message_extension
        if extension is not None and extension.criticality_indicator:
            raise FeatureNotSupported("an extension is critical that is not known here")
        payload = item.request_payload
        if isinstance(payload, Unread):
            if payload.reason is ResultReason.OPERATION_NOT_SUPPORTED:
                raise OperationNotSupported(f"{_operation_name(item.operation)} is not served here")
            invalid = payload.reason is ResultReason.INVALID_FIELD
            raise (InvalidField if invalid else InvalidMessage)(payload.text)
        return in_order(SPOKEN[item.operation].read(payload), minor)
    except ProductError as error:
        return UnreadRequest(error=error)


def _operation_name(operation: Operation | int | None) -> str:
    return (
        operation.title if isinstance(operation, Operation) else f"operation 0x{operation or 0:X}"
    )


def outcome(item: RequestItem, done: Item, minor: int) -> ResponseItem:
    if done.undone:
        return ResponseItem(
            operation=item.operation,
            unique_batch_item_id=item.unique_batch_item_id,
            result_status=ResultStatus.OPERATION_UNDONE,
        )
    if done.error is not None:
        return failure_item(item, reason_of(done.error, minor), str(done.error))
    try:
        payload = SPOKEN[item.operation].write(
            AnswerContext(item.request_payload, minor), done.response
        )
    except ProductError as error:
        return failure_item(item, reason_of(error, minor), str(error))
    return ResponseItem(
        operation=item.operation,
        unique_batch_item_id=item.unique_batch_item_id,
        result_status=ResultStatus.SUCCESS,
        response_payload=payload,
    )


def failure_item(
    item: RequestItem | ResponseItem | None, reason: ResultReason, text: str
) -> ResponseItem:
    return ResponseItem(
        operation=None if item is None else item.operation,
        unique_batch_item_id=None if item is None else item.unique_batch_item_id,
        result_status=ResultStatus.OPERATION_FAILED,
        result_reason=reason,
        result_message=text,
    )
