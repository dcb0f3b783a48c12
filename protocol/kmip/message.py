"""Whole messages: bytes to typed structs and back, with their headers and the identity of the
caller (KMIP 1.4 sections 6 and 7).
"""

from __future__ import annotations

import struct
from typing import Annotated, Final, TypeVar

from protocol.kmip.compiler import decoder_of, encoder_of
from protocol.kmip.enums import (
    AttestationType,
    BatchErrorContinuationOption,
    CredentialType,
    KmipError,
    Operation,
    ResultReason,
    ResultStatus,
)
from protocol.kmip.fields import Chosen, DateTime, Fields, Integer, Password, Unread
from protocol.kmip.objects import Nonce, ProtocolVersion
from protocol.kmip.parts import FAILURES
from protocol.kmip.payloads import REQUESTS, RESPONSES
from protocol.kmip.tags import Tag
from protocol.kmip.ttlv import HEAD, SIZE_LIMIT, TtlvItem, Type, parse


class UsernameAndPassword(Fields, frozen=True, kw_only=True):
    """A Credential Value (KMIP 1.4 section 2.1.2)."""

    username: str
    password: Password | None = None


class Device(Fields, frozen=True, kw_only=True):
    """A Credential Value (KMIP 1.4 section 2.1.2); at least one of its fields is there."""

    device_serial_number: str | None = None
    password: Password | None = None
    device_identifier: str | None = None
    network_identifier: str | None = None
    machine_identifier: str | None = None
    media_identifier: str | None = None


class Attestation(Fields, frozen=True, kw_only=True):
    """A Credential Value (KMIP 1.4 section 2.1.2)."""

    nonce: Nonce
    attestation_type: AttestationType | int
    attestation_measurement: bytes | None = None
    attestation_assertion: bytes | None = None


CREDENTIALS: Final[dict[int, type[Fields]]] = {
    CredentialType.USERNAME_AND_PASSWORD: UsernameAndPassword,
    CredentialType.DEVICE: Device,
    CredentialType.ATTESTATION: Attestation,
}


class Credential(Fields, frozen=True, kw_only=True):
    """What proves who asks (KMIP 1.4 section 2.1.2)."""

    credential_type: CredentialType | int
    credential_value: Annotated[
        UsernameAndPassword | Device | Attestation | Unread,
        Chosen("credential_type", CREDENTIALS, ResultReason.AUTHENTICATION_NOT_SUCCESSFUL),
    ]


class Authentication(Fields, frozen=True, kw_only=True):
    """KMIP 1.4 section 6.6; more than one credential since 1.2."""

    credential: tuple[Credential, ...] = ()


class RequestHeader(Fields, frozen=True, kw_only=True):
    """KMIP 1.4 section 7.2."""

    protocol_version: ProtocolVersion
    maximum_response_size: Integer | None = None
    client_correlation_value: str | None = None
    server_correlation_value: str | None = None
    asynchronous_indicator: bool | None = None
    attestation_capable_indicator: bool | None = None
    attestation_type: tuple[AttestationType | int, ...] = ()
    authentication: Authentication | None = None
    batch_error_continuation_option: BatchErrorContinuationOption | int | None = None
    batch_order_option: bool | None = None
    time_stamp: DateTime | None = None
    batch_count: Integer


class ResponseHeader(Fields, frozen=True, kw_only=True):
    """KMIP 1.4 section 7.2."""

    protocol_version: ProtocolVersion
    time_stamp: DateTime
    nonce: Nonce | None = None
    attestation_type: tuple[AttestationType | int, ...] = ()
    client_correlation_value: str | None = None
    server_correlation_value: str | None = None
    batch_count: Integer


class MessageExtension(Fields, frozen=True, kw_only=True):
    """What a vendor adds to an item (KMIP 1.4 section 6.16)."""

    vendor_identification: str
    criticality_indicator: bool
    vendor_extension: TtlvItem


_NOT_SUPPORTED: Final = ResultReason.OPERATION_NOT_SUPPORTED


class RequestItem(Fields, frozen=True, kw_only=True):
    """One operation of a batch; ``operation`` is an ``int`` when no version up to 1.4 has it."""

    operation: Operation | int
    unique_batch_item_id: bytes | None = None
    request_payload: Annotated[Fields | Unread, Chosen("operation", REQUESTS, _NOT_SUPPORTED)]
    message_extension: MessageExtension | None = None


class ResponseItem(Fields, frozen=True, kw_only=True):
    """How one operation ended; a message that was not understood is answered without one."""

    operation: Operation | int | None = None
    unique_batch_item_id: bytes | None = None
    result_status: ResultStatus | int
    result_reason: ResultReason | int | None = None
    result_message: str | None = None
    asynchronous_correlation_value: bytes | None = None
    response_payload: (
        Annotated[Fields | Unread, Chosen("operation", RESPONSES, _NOT_SUPPORTED)] | None
    ) = None
    message_extension: MessageExtension | None = None


class RequestMessage(Fields, frozen=True, kw_only=True):
    """What a client sends; the header's Batch Count is the number of items."""

    request_header: RequestHeader
    batch_item: tuple[RequestItem, ...] = ()


class ResponseMessage(Fields, frozen=True, kw_only=True):
    """What a server answers; the header's Batch Count is the number of items."""

    response_header: ResponseHeader
    batch_item: tuple[ResponseItem, ...] = ()


M = TypeVar("M", RequestMessage, ResponseMessage)

_HEAD: Final = struct.Struct(">II")
_REQUEST: Final = Tag.REQUEST_MESSAGE << 8 | Type.STRUCTURE
_RESPONSE: Final = Tag.RESPONSE_MESSAGE << 8 | Type.STRUCTURE


def decode_request(data: bytes) -> RequestMessage:
    """The request that these bytes are; ``KmipError``."""
    message = _decode_message(RequestMessage, _REQUEST, data)
    _check_count(message.request_header.batch_count, len(message.batch_item))
    return message


def decode_response(data: bytes) -> ResponseMessage:
    """The response that these bytes are; ``KmipError``."""
    message = _decode_message(ResponseMessage, _RESPONSE, data)
    _check_count(message.response_header.batch_count, len(message.batch_item))
    return message


def encode_request(message: RequestMessage) -> bytes:
    """Its bytes; ``KmipError`` when a value has no place in KMIP, or all of it is too large."""
    _check_count(message.request_header.batch_count, len(message.batch_item))
    return _encode_message(RequestMessage, _REQUEST, message)


def encode_response(message: ResponseMessage) -> bytes:
    """Its bytes; ``KmipError`` when a value has no place in KMIP, or all of it is too large."""
    _check_count(message.response_header.batch_count, len(message.batch_item))
    return _encode_message(ResponseMessage, _RESPONSE, message)


def _check_count(count: int, items: int) -> None:
    if count != items:
        raise KmipError(f"Batch Count is {count}, and there are {items} items")


def _decode_message(cls: type[M], key: int, data: bytes) -> M:
    size = len(data)
    if size > SIZE_LIMIT:
        raise KmipError(f"a message of {size} bytes: at most {SIZE_LIMIT}")
    why: Exception
    try:
        if _HEAD.unpack_from(data) == (key, size - HEAD) and not size & 7:
            message: M = decoder_of(cls)(data, HEAD, size, 1)
            return message
        why = KmipError(f"these {size} bytes are no {cls.__name__}")
    except FAILURES as failure:
        why = failure
    parse(data)  # says better where, if it is no TTLV at all
    raise why if isinstance(why, KmipError) else KmipError(f"this is no {cls.__name__}")


def _encode_message(cls: type[M], key: int, message: M) -> bytes:
    try:
        body = encoder_of(cls)(message)
    except (struct.error, UnicodeEncodeError):
        body = None
    if body is None:
        raise KmipError(f"{cls.__name__}: a number or a text that has no place in TTLV")
    if len(body) + HEAD > SIZE_LIMIT:
        raise KmipError(f"a message of {len(body) + HEAD} bytes: at most {SIZE_LIMIT}")
    return _HEAD.pack(key, len(body)) + body
