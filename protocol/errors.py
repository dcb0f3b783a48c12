"""The closed registry of errors that travel between nodes.

Each error says whether the operation *certainly did not happen* (``definite``), and which vSphere
fault or KMIP result reason it corresponds to. A caller may always retry after a definite error.
After an indefinite one it must ask, or repeat a message whose class allows a repeat.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from protocol.terms import CryptoKeyId, ResultReason


class ErrorBody(msgspec.Struct, frozen=True, array_like=True):
    """An error on the wire: registry name, text for people, and the keys concerned."""

    name: str
    text: str
    keys: tuple[CryptoKeyId, ...] = ()


REGISTRY: dict[str, type[ProductError]] = {}


class ProductError(Exception):
    """Base class of the registry; ``keys`` are the keys concerned (EncryptionKeyRequired)."""

    code: ClassVar[int] = 0
    definite: ClassVar[bool] = True
    fault: ClassVar[str] = ""
    reason: ClassVar[ResultReason] = ResultReason.GENERAL_FAILURE

    def __init__(self, text: str = "", keys: tuple[CryptoKeyId, ...] = ()) -> None:
        super().__init__(text or (self.__doc__ or "").split("\n")[0])
        self.keys = keys

    def __init_subclass__(cls) -> None:
        if cls.code in {e.code for e in REGISTRY.values()} or cls.__name__ in REGISTRY:
            raise TypeError(f"error {cls.__name__} ({cls.code}) is registered already")
        REGISTRY[cls.__name__] = cls

    def body(self) -> ErrorBody:
        """This error for the wire; ``from_body`` is the inverse."""
        return ErrorBody(type(self).__name__, str(self), self.keys)


def from_body(body: ErrorBody) -> ProductError:
    """The exception that ``body`` describes; an unknown name becomes ``Internal``."""
    cls = REGISTRY.get(body.name)
    if cls is None:
        return Internal(f"unknown error {body.name!r}: {body.text}")
    return cls(body.text, body.keys)


# Errors of the bus -------------------------------------------------------------------------


class NotSent(ProductError):
    """The request was refused before any byte left this node."""

    code = 1


class Refused(ProductError):
    """The machine is up, but no process listens there: the connection was reset."""

    code = 2


class TimedOut(ProductError):
    """No answer before the deadline; the operation may or may not have happened."""

    code = 3
    definite = False


class Disconnected(ProductError):
    """The broker link was lost during the call; the operation may or may not have happened."""

    code = 4
    definite = False


class Malformed(ProductError):
    """The message could not be decoded; it was counted and dropped."""

    code = 5


class Busy(ProductError):
    """The node has reached its limit of concurrent requests; the operation was not started."""

    code = 6


class Internal(ProductError):
    """The service failed in an unexpected way; its log has the details."""

    code = 7
    definite = False


class NotConnected(ProductError):
    """The session or command number is not in force: an old command must not undo a newer one."""

    code = 8
    fault = "HostNotConnected"


class NotAvailable(ProductError):
    """This is not implemented, or not present in this lab."""

    code = 9
    fault = "NotSupported"


class TlsFailure(ProductError):
    """One end refused the TLS handshake; no request was sent."""

    code = 10


# Errors of vSphere -------------------------------------------------------------------------


class InvalidState(ProductError):
    """The object is not in a state that allows this."""

    code = 20
    fault = "InvalidState"


class InvalidPowerState(ProductError):
    """The power state does not allow this."""

    code = 21
    fault = "InvalidPowerState"


class InvalidVmState(ProductError):
    """The VM is still locked (LOCK-05), or locked and invalid (LOCK-02); ``keys`` are missing."""

    code = 22
    fault = "InvalidVmState"


class EncryptionKeyRequired(ProductError):
    """Keys needed for this are not in the host's key cache; ``keys`` names them."""

    code = 23
    fault = "EncryptionKeyRequired"


class AlreadyExists(ProductError):
    """An object of that name exists already."""

    code = 24
    fault = "AlreadyExists"


class NotFound(ProductError):
    """There is no object of that name."""

    code = 25
    fault = "NotFound"


class InvalidArgument(ProductError):
    """An argument is not valid; the text names it."""

    code = 26
    fault = "InvalidArgument"


class ResourceInUse(ProductError):
    """The object is in use."""

    code = 27
    fault = "ResourceInUse"


class NoPermission(ProductError):
    """The caller does not have the permission for this."""

    code = 28
    fault = "NoPermission"


class KeyProviderUnreachable(ProductError):
    """No server of the key provider answers (KeyStateClusterUnreachable)."""

    code = 29
    fault = "RuntimeFault"


class HostUnreachable(ProductError):
    """vCenter has no session to the host; the request did not reach it."""

    code = 30
    fault = "HostNotConnected"


class GuestFault(ProductError):
    """The guest's data could not be read back or verified."""

    code = 31
    fault = "InvalidVmState"


class DatastoreFault(ProductError):
    """The shared array refused: a lock held elsewhere, or no space."""

    code = 32
    fault = "FileFault"


class SaveFailed(ProductError):
    """The node's disk refused the write; the change may hold in memory only."""

    code = 33
    definite = False
    fault = "HostConfigFault"


class InvalidName(ProductError):
    """A name is not valid; the text states the allowed names."""

    code = 34
    fault = "InvalidName"


class Unauthenticated(ProductError):
    """The token is missing, invalid, expired, or of another host, group or issuer."""

    code = 35
    fault = "NotAuthenticated"


# Errors of KMIP -------------------------------------------------------------------------------


class ItemNotFound(ProductError):
    """KMIP Item Not Found: no such object in this scope."""

    code = 40
    reason = ResultReason.ITEM_NOT_FOUND
    fault = "KeyStateMissingInKMS"


class PermissionDenied(ProductError):
    """KMIP Permission Denied: the object is in scope, but the role does not allow the operation."""

    code = 41
    reason = ResultReason.PERMISSION_DENIED


class AuthenticationNotSuccessful(PermissionDenied):
    """KMIP Authentication Not Successful: the client is not authenticated, or was revoked."""

    code = 59
    reason = ResultReason.AUTHENTICATION_NOT_SUCCESSFUL


class WrongKeyLifecycleState(ProductError):
    """KMIP Wrong Key Lifecycle State: the state table does not allow this step."""

    code = 42
    reason = ResultReason.WRONG_KEY_LIFECYCLE_STATE
    fault = "KeyStateNotActiveOrEnabled"


class WrappingKeyMissing(ProductError):
    """The key server does not have the wrapping key of the key provider (KEY-09)."""

    code = 64
    fault = "WrappingKeyMissingInKMS"


class WrappingKeyNotActive(ProductError):
    """The wrapping key of the key provider is not active at its key server (KEY-09)."""

    code = 65
    fault = "WrappingKeyNotActiveOrEnabled"


class InvalidField(ProductError):
    """KMIP Invalid Field: a field of the request is not valid."""

    code = 43
    reason = ResultReason.INVALID_FIELD


class CryptographicFailure(ProductError):
    """KMIP Cryptographic Failure: stored material cannot be unwrapped."""

    code = 44
    reason = ResultReason.CRYPTOGRAPHIC_FAILURE


class GeneralFailure(ProductError):
    """KMIP General Failure: the key server's storage failed; the operation may or may not have
    happened."""

    code = 45
    definite = False


class ResponseTooLarge(ProductError):
    """KMIP Response Too Large: the answer does not fit in one message; request fewer items."""

    code = 46
    reason = ResultReason.RESPONSE_TOO_LARGE


class IllegalOperation(ProductError):
    """KMIP Illegal Operation: the item to be added exists already."""

    code = 47
    reason = ResultReason.ILLEGAL_OPERATION


class IndexOutofBounds(ProductError):
    """KMIP Index Out of Bounds: there is no room for another item."""

    code = 48
    reason = ResultReason.INDEX_OUT_OF_BOUNDS


class InvalidMessage(ProductError):
    """KMIP Invalid Message: the request as a whole is not valid."""

    code = 49
    reason = ResultReason.INVALID_MESSAGE


class FeatureNotSupported(ProductError):
    """KMIP Feature Not Supported: the operation is supported, but not in this form."""

    code = 50
    reason = ResultReason.FEATURE_NOT_SUPPORTED


class OperationNotSupported(ProductError):
    """KMIP Operation Not Supported: there is no such operation."""

    code = 56
    reason = ResultReason.OPERATION_NOT_SUPPORTED


class KeyFormatTypeNotSupported(ProductError):
    """KMIP Key Format Type Not Supported: keys are transferred as raw bytes."""

    code = 57
    reason = ResultReason.KEY_FORMAT_TYPE_NOT_SUPPORTED


class EncodingOptionError(ProductError):
    """KMIP Encoding Option Error: a wrapped key is not available in this encoding."""

    code = 63
    reason = ResultReason.ENCODING_OPTION_ERROR


class Sensitive(ProductError):
    """KMIP Sensitive: the key leaves the server only wrapped."""

    code = 60
    reason = ResultReason.SENSITIVE


class NotExtractable(ProductError):
    """KMIP Not Extractable: the key never leaves the server."""

    code = 61
    reason = ResultReason.NOT_EXTRACTABLE


class TagLengthNotSupported(ProductError):
    """KMIP General Failure: the cipher mode has no authentication tag of that length."""

    code = 62


class KeyCompressionTypeNotSupported(ProductError):
    """KMIP Key Compression Type Not Supported: a symmetric key has no point to compress."""

    code = 58
    reason = ResultReason.KEY_COMPRESSION_TYPE_NOT_SUPPORTED
