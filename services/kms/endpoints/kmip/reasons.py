"""The Result Reason of KMIP 1.x for each error of the core (KMIP 1.4 section 9.1.3.2.29)."""

from __future__ import annotations

from typing import Final

from protocol import terms
from protocol.errors import ProductError
from protocol.kmip.enums import ResultReason

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
