"""The closed registry of errors that travel between nodes.

Each says whether the operation *certainly did not happen* (``definite``), and which vSphere
fault or KMIP result reason it is. A caller may retry a definite one without thought; after an
indefinite one it must ask, or repeat a message that says what a repeat means.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from protocol.terms import CryptoKeyId, ResultReason


class ErrorBody(msgspec.Struct, frozen=True, array_like=True):
    """An error on the wire: registry name, text for people, keys it is about."""

    name: str
    text: str
    keys: tuple[CryptoKeyId, ...] = ()


REGISTRY: dict[str, type[ProductError]] = {}


class ProductError(Exception):
    """Base of the registry; ``keys`` are the keys it is about (EncryptionKeyRequired)."""

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
        """This error as it goes onto the wire; ``from_body`` is the way back."""
        return ErrorBody(type(self).__name__, str(self), self.keys)


def from_body(body: ErrorBody) -> ProductError:
    """The exception that ``body`` describes; an unknown name becomes ``Internal``."""
    cls = REGISTRY.get(body.name)
    if cls is None:
        return Internal(f"unknown error {body.name!r}: {body.text}")
    return cls(body.text, body.keys)


# What the bus says -------------------------------------------------------------------------


class NotSent(ProductError):
    """Refused before a byte left this node."""

    code = 1


class Refused(ProductError):
    """No process listens there, and its machine is up: a connection reset."""

    code = 2


class TimedOut(ProductError):
    """No answer before the deadline; it may or may not have happened."""

    code = 3
    definite = False


class Disconnected(ProductError):
    """The broker link was lost with the call in flight; it may or may not have happened."""

    code = 4
    definite = False


class Malformed(ProductError):
    """The message could not be understood; it was counted and dropped."""

    code = 5


class Busy(ProductError):
    """The node works on as many requests as it may; nothing was begun."""

    code = 6


class Internal(ProductError):
    """The service failed in an unexpected way; its log has the story."""

    code = 7
    definite = False


class NotConnected(ProductError):
    """The session or command number is not in force (an old one must not undo a newer)."""

    code = 8
    fault = "HostNotConnected"


class NotAvailable(ProductError):
    """This is not built, or not present in this lab."""

    code = 9
    fault = "NotSupported"


class TlsFailure(ProductError):
    """A TLS handshake was refused, by this end or by the other; nothing was asked or answered."""

    code = 10


# What vSphere says -------------------------------------------------------------------------


class InvalidState(ProductError):
    """The object is not in a state that allows this."""

    code = 20
    fault = "InvalidState"


class InvalidPowerState(ProductError):
    """The power state does not allow this."""

    code = 21
    fault = "InvalidPowerState"


class InvalidVmState(ProductError):
    """The VM is locked, still (LOCK-05) or so that it is invalid (LOCK-02); ``keys`` it lacks."""

    code = 22
    fault = "InvalidVmState"


class EncryptionKeyRequired(ProductError):
    """Keys needed for this are not in the host's key cache; ``keys`` names them."""

    code = 23
    fault = "EncryptionKeyRequired"


class AlreadyExists(ProductError):
    """There is one of that name."""

    code = 24
    fault = "AlreadyExists"


class NotFound(ProductError):
    """There is none of that name."""

    code = 25
    fault = "NotFound"


class InvalidArgument(ProductError):
    """An argument is not acceptable; the text names it."""

    code = 26
    fault = "InvalidArgument"


class ResourceInUse(ProductError):
    """It is in use."""

    code = 27
    fault = "ResourceInUse"


class NoPermission(ProductError):
    """The caller may not do this."""

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
    """The disk of the node refused: what was asked may hold in memory only."""

    code = 33
    definite = False
    fault = "HostConfigFault"


class InvalidName(ProductError):
    """A name is not acceptable; the text says what is allowed."""

    code = 34
    fault = "InvalidName"


class Unauthenticated(ProductError):
    """The token is missing, not a good one, expired, or of another host, group or issuer."""

    code = 35
    fault = "NotAuthenticated"


# What KMIP says ----------------------------------------------------------------------------


class ItemNotFound(ProductError):
    """KMIP Item Not Found: no such object in this scope."""

    code = 40
    reason = ResultReason.ITEM_NOT_FOUND
    fault = "KeyStateMissingInKMS"


class PermissionDenied(ProductError):
    """KMIP Permission Denied: own scope, but the operation is not allowed to this role."""

    code = 41
    reason = ResultReason.PERMISSION_DENIED


class AuthenticationNotSuccessful(PermissionDenied):
    """KMIP Authentication Not Successful: who asks is not believed, or is not admitted any more."""

    code = 59
    reason = ResultReason.AUTHENTICATION_NOT_SUCCESSFUL


class WrongKeyLifecycleState(ProductError):
    """KMIP Wrong Key Lifecycle State: the state table has no such step."""

    code = 42
    reason = ResultReason.WRONG_KEY_LIFECYCLE_STATE
    fault = "KeyStateNotActiveOrEnabled"


class InvalidField(ProductError):
    """KMIP Invalid Field: a field of the request is not acceptable."""

    code = 43
    reason = ResultReason.INVALID_FIELD


class CryptographicFailure(ProductError):
    """KMIP Cryptographic Failure: stored material does not unwrap."""

    code = 44
    reason = ResultReason.CRYPTOGRAPHIC_FAILURE


class GeneralFailure(ProductError):
    """KMIP General Failure: the key server's storage refused; it may or may not have happened."""

    code = 45
    definite = False


class ResponseTooLarge(ProductError):
    """KMIP Response Too Large: the answer would not fit into one message; ask for fewer."""

    code = 46
    reason = ResultReason.RESPONSE_TOO_LARGE


class IllegalOperation(ProductError):
    """KMIP Illegal Operation: what is to be added is there already."""

    code = 47
    reason = ResultReason.ILLEGAL_OPERATION


class IndexOutofBounds(ProductError):
    """KMIP Index Out of Bounds: there is no room for more of it."""

    code = 48
    reason = ResultReason.INDEX_OUT_OF_BOUNDS


class InvalidMessage(ProductError):
    """KMIP Invalid Message: the request as such is not a good one."""

    code = 49
    reason = ResultReason.INVALID_MESSAGE


class FeatureNotSupported(ProductError):
    """KMIP Feature Not Supported: the operation is known here, this way of it is not."""

    code = 50
    reason = ResultReason.FEATURE_NOT_SUPPORTED


class OperationNotSupported(ProductError):
    """KMIP Operation Not Supported: no such operation here."""

    code = 56
    reason = ResultReason.OPERATION_NOT_SUPPORTED


class KeyFormatTypeNotSupported(ProductError):
    """KMIP Key Format Type Not Supported: keys come and go as raw bytes here."""

    code = 57
    reason = ResultReason.KEY_FORMAT_TYPE_NOT_SUPPORTED


class EncodingOptionError(ProductError):
    """KMIP Encoding Option Error: a wrapped key cannot be given in this encoding."""

    code = 63
    reason = ResultReason.ENCODING_OPTION_ERROR


class Sensitive(ProductError):
    """KMIP Sensitive: the key leaves the server wrapped, and in no other way."""

    code = 60
    reason = ResultReason.SENSITIVE


class NotExtractable(ProductError):
    """KMIP Not Extractable: the key does not leave the server."""

    code = 61
    reason = ResultReason.NOT_EXTRACTABLE


class TagLengthNotSupported(ProductError):
    """KMIP General Failure: the cipher mode has no authentication tag of that length."""

    code = 62


class KeyCompressionTypeNotSupported(ProductError):
    """KMIP Key Compression Type Not Supported: a symmetric key has no point to compress."""

    code = 58
    reason = ResultReason.KEY_COMPRESSION_TYPE_NOT_SUPPORTED
