"""Messages as vCenter sends and gets them, with what a test wants in them."""

from __future__ import annotations

from collections.abc import Sequence

from protocol.kmip.algorithms import CryptographicAlgorithm, KeyFormatType
from protocol.kmip.attributes import Attribute, TemplateAttribute
from protocol.kmip.enums import (
    CredentialType,
    ObjectType,
    QueryFunction,
    ResultStatus,
    State,
)
from protocol.kmip.fields import Fields
from protocol.kmip.header import (
    Authentication,
    Credential,
    RequestHeader,
    ResponseHeader,
    UsernameAndPassword,
)
from protocol.kmip.message import RequestItem, RequestMessage, ResponseItem, ResponseMessage
from protocol.kmip.objects import KeyBlock, KeyValue, SymmetricKey
from protocol.kmip.payloads import (
    PAYLOADS,
    ActivateRequest,
    ActivateResponse,
    AddAttributeRequest,
    CreateRequest,
    CreateResponse,
    DiscoverVersionsRequest,
    GetAttributesRequest,
    GetAttributesResponse,
    GetRequest,
    GetResponse,
    QueryRequest,
)
from protocol.kmip.structures import ProtocolVersion
from protocol.secret import KeyMaterial

VERSION = ProtocolVersion(protocol_version_major=1, protocol_version_minor=1)
UID = "7"
KEY = KeyMaterial(bytes(range(32)))
TAGS = {
    "x-Product_Version": "7.0.3 build-19480866",
    "x-Vendor": "VMware, Inc.",
    "x-Product": "VMware vSphere",
}
_OPERATIONS = {cls: operation for operation, pair in PAYLOADS.items() for cls in pair}


def batch_id(number: int) -> bytes:
    """What vCenter numbers the items of a message with, from 1."""
    return b"QLKC" + number.to_bytes(4, "little")


def request(
    *payloads: Fields, ids: bool = True, login: tuple[str, str] | None = None
) -> RequestMessage:
    """A request of KMIP 1.1 with these operations."""
    return RequestMessage(
        request_header=RequestHeader(
            protocol_version=VERSION,
            authentication=_login(*login) if login else None,
            batch_count=len(payloads),
        ),
        batch_item=tuple(
            RequestItem(
                operation=_OPERATIONS[type(payload)],
                unique_batch_item_id=batch_id(number) if ids else None,
                request_payload=payload,
            )
            for number, payload in enumerate(payloads, 1)
        ),
    )


def response(*payloads: Fields) -> ResponseMessage:
    """The successful answer to it."""
    return ResponseMessage(
        response_header=ResponseHeader(
            protocol_version=VERSION, time_stamp=1_751_541_781, batch_count=len(payloads)
        ),
        batch_item=tuple(
            ResponseItem(
                operation=_OPERATIONS[type(payload)],
                unique_batch_item_id=batch_id(number),
                result_status=ResultStatus.SUCCESS,
                response_payload=payload,
            )
            for number, payload in enumerate(payloads, 1)
        ),
    )


def template() -> TemplateAttribute:
    """What vCenter asks of a new key."""
    return TemplateAttribute(
        attribute=(
            Attribute(
                attribute_name="Cryptographic Algorithm", attribute_value=CryptographicAlgorithm.AES
            ),
            Attribute(attribute_name="Cryptographic Usage Mask", attribute_value=12),
            Attribute(attribute_name="Cryptographic Length", attribute_value=256),
        )
    )


def add_attributes(tags: Sequence[tuple[str, str]] = tuple(TAGS.items())) -> RequestMessage:
    """The batch that tags a key."""
    return request(
        *(
            AddAttributeRequest(
                unique_identifier=UID,
                attribute=Attribute(attribute_name=name, attribute_value=value),
            )
            for name, value in tags
        )
    )


def aes(material: KeyMaterial = KEY) -> SymmetricKey:
    """An AES-256 key in clear."""
    return SymmetricKey(
        key_block=KeyBlock(
            key_format_type=KeyFormatType.RAW,
            key_value=KeyValue(key_material=material),
            cryptographic_algorithm=CryptographicAlgorithm.AES,
            cryptographic_length=256,
        )
    )


def _login(name: str, password: str) -> Authentication:
    return Authentication(
        credential=(
            Credential(
                credential_type=CredentialType.USERNAME_AND_PASSWORD,
                credential_value=UsernameAndPassword(
                    username=name, password=KeyMaterial(password.encode())
                ),
            ),
        )
    )


STATE = Attribute(attribute_name="State", attribute_value=State.PRE_ACTIVE)
REQUESTS = {
    "DiscoverVersions": (request(DiscoverVersionsRequest(), ids=False), 104),
    "DiscoverVersions with an id": (request(DiscoverVersionsRequest()), 120),
    "Query": (
        request(QueryRequest(query_function=(QueryFunction.QUERY_SERVER_INFORMATION,))),
        136,
    ),
    "Create": (
        request(CreateRequest(object_type=ObjectType.SYMMETRIC_KEY, template_attribute=template())),
        312,
    ),
    "Get": (request(GetRequest(unique_identifier=UID)), 136),
    "Activate": (request(ActivateRequest(unique_identifier=UID)), 136),
    "GetAttributes(State)": (
        request(GetAttributesRequest(unique_identifier=UID, attribute_name=("State",))),
        152,
    ),
    "GetAttributes(x-Product)": (
        request(GetAttributesRequest(unique_identifier=UID, attribute_name=("x-Product",))),
        160,
    ),
    "GetAttributes(x-Product_Version)": (
        request(GetAttributesRequest(unique_identifier=UID, attribute_name=("x-Product_Version",))),
        168,
    ),
    "AddAttribute": (add_attributes(), 440),
}
"""Requests as vCenter 7.0.3 sends them for an object with a short id, and how long they are."""

RESPONSES = {
    "Create": (
        response(CreateResponse(object_type=ObjectType.SYMMETRIC_KEY, unique_identifier=UID)),
        184,
    ),
    "Get": (
        response(
            GetResponse(object_type=ObjectType.SYMMETRIC_KEY, unique_identifier=UID, object=aes())
        ),
        296,
    ),
    "Activate": (response(ActivateResponse(unique_identifier=UID)), 168),
    "GetAttributes(State)": (
        response(GetAttributesResponse(unique_identifier=UID, attribute=(STATE,))),
        208,
    ),
    "GetAttributes of a name that it does not have": (
        response(GetAttributesResponse(unique_identifier=UID)),
        168,
    ),
}
