"""Messages as vCenter sends and gets them, with what a test wants in them."""

from __future__ import annotations

from protocol.kmip import dialect
from protocol.kmip import payloads as p
from protocol.kmip.algorithms import CryptographicAlgorithm, KeyFormatType
from protocol.kmip.enums import (
    ObjectType,
    ResultStatus,
    State,
)
from protocol.kmip.fields import Fields
from protocol.kmip.message import ResponseHeader, ResponseItem, ResponseMessage
from protocol.kmip.objects import Attribute, KeyBlock, KeyValue, SymmetricKey
from protocol.secret import KeyMaterial

UID = "7"
KEY = KeyMaterial(bytes(range(32)))
TAGS = {
    "x-Product_Version": "7.0.3 build-19480866",
    "x-Vendor": "VMware, Inc.",
    "x-Product": "VMware vSphere",
}
_OPERATIONS = {cls: operation for operation, pair in p.PAYLOADS.items() for cls in pair}


def response(*payloads: Fields) -> ResponseMessage:
    """The successful answer to it."""
    return ResponseMessage(
        response_header=ResponseHeader(
            protocol_version=dialect.VERSION, time_stamp=1_751_541_781, batch_count=len(payloads)
        ),
        batch_item=tuple(
            ResponseItem(
                operation=_OPERATIONS[type(payload)],
                unique_batch_item_id=dialect.batch_id(number),
                result_status=ResultStatus.SUCCESS,
                response_payload=payload,
            )
            for number, payload in enumerate(payloads, 1)
        ),
    )


def login(password: str) -> dialect.Login:
    """A user name with this password."""
    return dialect.Login("a", KeyMaterial(password.encode()))


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


STATE = Attribute(attribute_name="State", attribute_value=State.PRE_ACTIVE)
REQUESTS = {
    "DiscoverVersions": (dialect.discover_versions(), 104),
    "DiscoverVersions with an id": (dialect.discover_versions(numbered=True), 120),
    "Query": (dialect.query(), 136),
    "Create": (dialect.create(), 312),
    "Get": (dialect.get(UID), 136),
    "Activate": (dialect.activate(UID), 136),
    "GetAttributes(State)": (dialect.get_state(UID), 152),
    "GetAttributes(x-Product)": (dialect.get_tag(UID, "x-Product"), 160),
    "GetAttributes(x-Product_Version)": (dialect.get_tag(UID, "x-Product_Version"), 168),
    "AddAttribute": (dialect.add_tags(UID, tuple(TAGS.items())), 440),
}
"""Requests as vCenter 7.0.3 sends them for an object with a short id, and how long they are."""

RESPONSES = {
    "Create": (
        response(p.CreateResponse(object_type=ObjectType.SYMMETRIC_KEY, unique_identifier=UID)),
        184,
    ),
    "Get": (
        response(
            p.GetResponse(object_type=ObjectType.SYMMETRIC_KEY, unique_identifier=UID, object=aes())
        ),
        296,
    ),
    "Activate": (response(p.ActivateResponse(unique_identifier=UID)), 168),
    "GetAttributes(State)": (
        response(p.GetAttributesResponse(unique_identifier=UID, attribute=(STATE,))),
        208,
    ),
    "GetAttributes of a name that it does not have": (
        response(p.GetAttributesResponse(unique_identifier=UID)),
        168,
    ),
}
