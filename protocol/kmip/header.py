"""Headers of messages, and who asks (KMIP 1.4 sections 6 and 7.1)."""

from __future__ import annotations

from typing import Annotated, Final

from protocol.kmip.enums import (
    AttestationType,
    BatchErrorContinuationOption,
    CredentialType,
    ResultReason,
)
from protocol.kmip.fields import Chosen, DateTime, Fields, Integer, Password, Unread
from protocol.kmip.structures import Nonce, ProtocolVersion
from protocol.kmip.ttlv import TtlvItem


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
