"""A key server's refusals: Result Reasons of KMIP as errors of this lab, by name."""

from __future__ import annotations

from typing import Final

from protocol.errors import (
    AuthenticationNotSuccessful,
    CryptographicFailure,
    FeatureNotSupported,
    GeneralFailure,
    IllegalOperation,
    InvalidField,
    InvalidMessage,
    ItemNotFound,
    NotExtractable,
    PermissionDenied,
    ProductError,
    ResponseTooLarge,
    Sensitive,
    TlsFailure,
)
from protocol.kmip.dialect import OperationFailed
from protocol.kmip.enums import ResultReason

_ERRORS: Final[dict[int, type[ProductError]]] = {
    ResultReason.ITEM_NOT_FOUND: ItemNotFound,
    ResultReason.RESPONSE_TOO_LARGE: ResponseTooLarge,
    ResultReason.AUTHENTICATION_NOT_SUCCESSFUL: AuthenticationNotSuccessful,
    ResultReason.PERMISSION_DENIED: PermissionDenied,
    ResultReason.INVALID_FIELD: InvalidField,
    ResultReason.CRYPTOGRAPHIC_FAILURE: CryptographicFailure,
    ResultReason.ILLEGAL_OPERATION: IllegalOperation,
    ResultReason.OPERATION_NOT_SUPPORTED: FeatureNotSupported,
    ResultReason.FEATURE_NOT_SUPPORTED: FeatureNotSupported,
    ResultReason.INVALID_MESSAGE: InvalidMessage,
    ResultReason.SENSITIVE: Sensitive,
    ResultReason.NOT_EXTRACTABLE: NotExtractable,
}


def by_the_server(error: TlsFailure) -> bool:
    """Whether the server ended the handshake, with an alert; otherwise this end did."""
    return "alert" in str(error)


def error_of(refused: OperationFailed) -> ProductError:
    """The error; ``GeneralFailure`` for a reason without a counterpart."""
    reason = refused.reason
    kind = GeneralFailure if reason is None else _ERRORS.get(reason, GeneralFailure)
    return kind(str(refused))
