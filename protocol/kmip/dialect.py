"""What vCenter says to a key server, message for message, and what it takes from the answers.

Taken from what vCenter 7.0.3 and 8.0.1 send: KMIP 1.1 whatever the server offers; each session
begins with Discover Versions without an id; items are numbered ``QLKC`` and a little-endian counter
that starts at 1 in each message; one item to a message but for Add Attribute, which comes in
threes; a user name, when there is one, in the header of Create, Get, Get Attributes of State and
Activate, and of no other. Pure: no transport, no waiting.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeVar

from protocol.kmip.algorithms import CryptographicAlgorithm, KeyFormatType
from protocol.kmip.enums import (
    Code,
    CredentialType,
    KmipError,
    ObjectType,
    QueryFunction,
    ResultStatus,
    State,
)
from protocol.kmip.fields import Fields
from protocol.kmip.message import (
    Authentication,
    Credential,
    RequestHeader,
    RequestItem,
    RequestMessage,
    ResponseItem,
    ResponseMessage,
    UsernameAndPassword,
)
from protocol.kmip.objects import (
    Attribute,
    KeyValue,
    ProtocolVersion,
    SymmetricKey,
    TemplateAttribute,
)
from protocol.kmip.payloads import (
    PAYLOADS,
    ActivateRequest,
    AddAttributeRequest,
    CreateRequest,
    DiscoverVersionsRequest,
    GetAttributesRequest,
    GetAttributesResponse,
    GetRequest,
    GetResponse,
    QueryRequest,
)
from protocol.secret import KeyMaterial

VERSION: Final = ProtocolVersion(protocol_version_major=1, protocol_version_minor=1)
PREFIX: Final = b"QLKC"
PRODUCT: Final = ("x-Product_Version", "x-Vendor", "x-Product")
"""Attributes of the first batch, which say what made the key; in the order of the batch."""
USE: Final = ("x-Identifier", "x-Component", "x-Name")
"""Attributes of the second batch, which say what the key is for."""

_LENGTH: Final = 256
_ENCRYPT_DECRYPT: Final = 12
TEMPLATE: Final = TemplateAttribute(
    attribute=(
        Attribute(
            attribute_name="Cryptographic Algorithm", attribute_value=CryptographicAlgorithm.AES
        ),
        Attribute(attribute_name="Cryptographic Usage Mask", attribute_value=_ENCRYPT_DECRYPT),
        Attribute(attribute_name="Cryptographic Length", attribute_value=_LENGTH),
    )
)
"""All that is said of a new key, in this order."""

_OPERATIONS: Final = {pair[0]: operation for operation, pair in PAYLOADS.items()}

P = TypeVar("P", bound=Fields)


class Login(NamedTuple):
    """The user name and password of a server's entry."""

    username: str
    password: KeyMaterial


class OperationFailed(Exception):
    """An item did not succeed: its Result Status, Result Reason and Result Message."""

    def __init__(self, item: ResponseItem) -> None:
        self.item = item
        self.status, self.reason = item.result_status, item.result_reason
        self.message = item.result_message or ""
        named = _label(self.reason) or _label(self.status)
        super().__init__(f"{named}: {self.message}" if self.message else named)


def batch_id(number: int) -> bytes:
    """The Unique Batch Item ID of the item of this number, from 1, of any message."""
    return PREFIX + number.to_bytes(4, "little")


def request(
    payloads: Sequence[Fields], login: Login | None = None, *, numbered: bool = True
) -> RequestMessage:
    """A message with these operations, an item each."""
    return RequestMessage(
        request_header=RequestHeader(
            protocol_version=VERSION,
            authentication=None if login is None else _authentication(login),
            batch_count=len(payloads),
        ),
        batch_item=tuple(
            RequestItem(
                operation=_OPERATIONS[type(payload)],
                unique_batch_item_id=batch_id(number) if numbered else None,
                request_payload=payload,
            )
            for number, payload in enumerate(payloads, 1)
        ),
    )


def discover_versions(*, numbered: bool = False) -> RequestMessage:
    """The first message of a session; ``numbered``: the second one of a look at its health."""
    return request((DiscoverVersionsRequest(),), numbered=numbered)


def query() -> RequestMessage:
    """What a server is, asked once when it is added."""
    return request((QueryRequest(query_function=(QueryFunction.QUERY_SERVER_INFORMATION,)),))


def create(login: Login | None = None) -> RequestMessage:
    """A new AES-256 key, of which nothing else is said."""
    asked = CreateRequest(object_type=ObjectType.SYMMETRIC_KEY, template_attribute=TEMPLATE)
    return request((asked,), login)


def get(uid: str, login: Login | None = None) -> RequestMessage:
    """The value of a key; it comes before Activate."""
    return request((GetRequest(unique_identifier=uid),), login)


def get_state(uid: str, login: Login | None = None) -> RequestMessage:
    """The state of a key."""
    return request((_get_attributes(uid, "State"),), login)


def activate(uid: str, login: Login | None = None) -> RequestMessage:
    """Make a Pre-Active key usable."""
    return request((ActivateRequest(unique_identifier=uid),), login)


def get_tag(uid: str, name: str) -> RequestMessage:
    """A custom attribute: vCenter looks at each before it adds three of them."""
    return request((_get_attributes(uid, name),))


def add_tags(uid: str, tags: Sequence[tuple[str, str]]) -> RequestMessage:
    """Custom attributes, an item each."""
    return request(
        tuple(
            AddAttributeRequest(
                unique_identifier=uid,
                attribute=Attribute(attribute_name=name, attribute_value=value),
            )
            for name, value in tags
        )
    )


def take_payloads(request: RequestMessage, answer: ResponseMessage) -> tuple[Fields, ...]:
    """The payload of each item of ``request``, in its order.

    ``OperationFailed`` for the first that did not succeed, after which a server may have stopped
    the batch (KMIP 1.1, 6.13); ``KmipError`` when the answer is none to this request.
    """
    items = answer.batch_item
    if len(items) == 1 and items[0].operation is None:
        raise OperationFailed(items[0])  # the whole message was not understood
    version = answer.response_header.protocol_version
    if version.protocol_version_major != VERSION.protocol_version_major:
        of = f"{version.protocol_version_major}.{version.protocol_version_minor}"
        raise KmipError(f"it is of KMIP {of}")
    payloads = tuple(_payload(*pair) for pair in zip(request.batch_item, items, strict=False))
    if len(items) != len(request.batch_item):
        raise KmipError(f"{len(items)} items answer {len(request.batch_item)}")
    return payloads


def one(request: RequestMessage, answer: ResponseMessage, expected: type[P]) -> P:
    """The one payload of an answer; raises as ``taken``."""
    [payload] = take_payloads(request, answer)
    if not isinstance(payload, expected):
        raise KmipError(f"{type(payload).__name__} where {expected.__name__} belongs")
    return payload


def material(payload: GetResponse) -> KeyMaterial:
    """The bytes of an AES-256 key in clear; ``KmipError`` when the object is something else."""
    held = payload.object
    if (
        not isinstance(held, SymmetricKey)
        or held.key_block.key_format_type is not KeyFormatType.RAW
    ):
        raise KmipError("the object is no symmetric key in raw format")
    value = held.key_block.key_value
    found = value.key_material if isinstance(value, KeyValue) else None
    if not isinstance(found, KeyMaterial) or len(found.reveal()) * 8 != _LENGTH:
        raise KmipError(f"the object is no key of {_LENGTH} bits")
    return found


def state(payload: GetAttributesResponse) -> State | None:
    """The State that an answer has; None when it has none."""
    for attribute in payload.attribute:
        if attribute.attribute_name == "State" and isinstance(attribute.attribute_value, State):
            return attribute.attribute_value
    return None


def _authentication(login: Login) -> Authentication:
    value = UsernameAndPassword(username=login.username, password=login.password)
    credential = Credential(
        credential_type=CredentialType.USERNAME_AND_PASSWORD, credential_value=value
    )
    return Authentication(credential=(credential,))


def _get_attributes(uid: str, name: str) -> GetAttributesRequest:
    return GetAttributesRequest(unique_identifier=uid, attribute_name=(name,))


def _payload(asked: RequestItem, item: ResponseItem) -> Fields:
    if item.result_status != ResultStatus.SUCCESS:
        raise OperationFailed(item)
    if item.unique_batch_item_id not in (None, asked.unique_batch_item_id):
        raise KmipError("the answer has another Unique Batch Item ID")
    if item.operation != asked.operation or not isinstance(item.response_payload, Fields):
        raise KmipError(f"the answer is none to {_label(asked.operation)}")
    meant = getattr(asked.request_payload, "unique_identifier", None)
    if meant is not None and getattr(item.response_payload, "unique_identifier", meant) != meant:
        raise KmipError("the answer is about another key")
    return item.response_payload


def _label(code: int | None) -> str:
    """Its title, or its number when it has none; empty without one."""
    if code is None:
        return ""
    return code.title if isinstance(code, Code) else f"code {code}"
