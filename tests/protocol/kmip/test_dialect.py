"""What vCenter asks, to the byte where its messages were captured, and what it makes of answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from protocol.kmip import dialect
from protocol.kmip.enums import KmipError, ResultReason, ResultStatus, State
from protocol.kmip.message import RequestMessage, ResponseMessage, encode_request
from protocol.kmip.objects import Attribute, ProtocolVersion
from protocol.kmip.payloads import (
    ActivateResponse,
    AddAttributeRequest,
    AddAttributeResponse,
    CreateRequest,
    CreateResponse,
    GetAttributesRequest,
    GetAttributesResponse,
    GetResponse,
    QueryRequest,
)
from protocol.kmip.ttlv import encode
from protocol.secret import KeyMaterial
from tests.protocol.kmip.test_vectors import CAPTURED, WHY, captured, typed
from tests.protocol.kmip.vcenter import KEY, RESPONSES, UID, aes, login, response

SENT = [path for path in CAPTURED if path.stem.endswith("_request")]


def said_again(message: RequestMessage) -> RequestMessage:
    """The message that the dialect has for what a captured one asks."""
    payloads = [item.request_payload for item in message.batch_item]
    named = message.request_header.authentication
    by = None
    if named is not None:
        value = msgspec.structs.asdict(named.credential[0].credential_value)
        by = dialect.Login(value["username"], value["password"])
    first = payloads[0]
    uid = getattr(first, "unique_identifier", "")
    match first:
        case CreateRequest():
            return dialect.create(by)
        case GetAttributesRequest(attribute_name=("State",)):
            return dialect.get_state(uid, by)
        case GetAttributesRequest(attribute_name=(name,)):
            return dialect.get_tag(uid, name)
        case AddAttributeRequest():
            tags = [p.attribute for p in payloads if isinstance(p, AddAttributeRequest)]
            return dialect.add_tags(uid, [(a.attribute_name, str(a.attribute_value)) for a in tags])
    plain: dict[str, Callable[[], RequestMessage]] = {
        "GetRequest": lambda: dialect.get(uid, by),
        "ActivateRequest": lambda: dialect.activate(uid, by),
        "QueryRequest": dialect.query,
        "DiscoverVersionsRequest": lambda: dialect.discover_versions(
            numbered=message.batch_item[0].unique_batch_item_id is not None
        ),
    }
    return plain[type(first).__name__]()


@pytest.mark.skipif(not SENT, reason=f"0 messages of vCenter: {WHY}")
@pytest.mark.parametrize("path", SENT, ids=lambda path: path.stem)
def test_what_vcenter_sends_is_said_to_the_byte(path: Path) -> None:
    [root] = json.loads(path.read_text())
    data = encode(captured(root))
    message = typed(data)
    assert isinstance(message, RequestMessage)
    assert encode_request(said_again(message)) == data


def test_what_vcenter_says_is_so_without_a_capture_beside_it() -> None:
    """Seen of vCenter 7.0.3 and 8.0.1; sizes are in ``test_message``."""
    tags = dialect.add_tags(UID, [("x-Vendor", "v"), ("x-Product", "p"), ("x-Name", "n")])
    ids = [item.unique_batch_item_id for item in tags.batch_item]
    assert ids == [b"QLKC\1\0\0\0", b"QLKC\2\0\0\0", b"QLKC\3\0\0\0"]
    [made] = [item.request_payload for item in dialect.create().batch_item]
    assert isinstance(made, CreateRequest)
    said = [(one.attribute_name, one.attribute_value) for one in made.template_attribute.attribute]
    assert said == [
        ("Cryptographic Algorithm", 3),
        ("Cryptographic Usage Mask", 12),
        ("Cryptographic Length", 256),
    ]
    [asked] = [item.request_payload for item in dialect.query().batch_item]
    assert isinstance(asked, QueryRequest)
    assert asked.query_function == (3,)


def answered(answer: ResponseMessage, **changed: object) -> ResponseMessage:
    """``answer``, its first item changed."""
    item = msgspec.structs.replace(answer.batch_item[0], **changed)
    return msgspec.structs.replace(answer, batch_item=(item, *answer.batch_item[1:]))


def test_an_answer_is_taken_for_its_payloads() -> None:
    made = RESPONSES["Create"][0]
    assert dialect.one(dialect.create(), made, CreateResponse).unique_identifier == UID
    got = dialect.one(dialect.get(UID), RESPONSES["Get"][0], GetResponse)
    assert dialect.material(got) == KEY
    at = dialect.one(
        dialect.get_state(UID), RESPONSES["GetAttributes(State)"][0], GetAttributesResponse
    )
    assert dialect.state(at) is State.PRE_ACTIVE
    nothing = RESPONSES["GetAttributes of a name that it does not have"][0]
    asked = dialect.get_tag(UID, "x-Name")
    assert dialect.state(dialect.one(asked, nothing, GetAttributesResponse)) is None


def test_a_refusal_has_its_reason() -> None:
    no = answered(
        RESPONSES["Get"][0],
        result_status=ResultStatus.OPERATION_FAILED,
        result_reason=ResultReason.ITEM_NOT_FOUND,
        result_message="no such key",
        response_payload=None,
    )
    with pytest.raises(dialect.OperationFailed, match=r"^Item Not Found: no such key$") as refused:
        dialect.take_payloads(dialect.get(UID), no)
    assert refused.value.reason is ResultReason.ITEM_NOT_FOUND
    vendor = answered(no, result_reason=0x8000_0001, result_message=None)
    with pytest.raises(dialect.OperationFailed, match=r"^code 2147483649$"):
        dialect.take_payloads(dialect.get(UID), vendor)


def test_a_message_that_was_not_understood_is_refused_as_a_whole() -> None:
    """As PyKMIP's server answers to Add Attribute: one item for three, and no operation."""
    tags = dialect.add_tags(UID, [("x-Vendor", "v"), ("x-Product", "p"), ("x-Name", "n")])
    no = answered(
        RESPONSES["Activate"][0],
        operation=None,
        unique_batch_item_id=None,
        result_status=ResultStatus.OPERATION_FAILED,
        result_reason=ResultReason.INVALID_MESSAGE,
        response_payload=None,
    )
    with pytest.raises(dialect.OperationFailed, match="Invalid Message"):
        dialect.take_payloads(tags, no)


def refused_at(number: int, answer: ResponseMessage) -> ResponseMessage:
    """``answer`` of a server that stops its batch at the item of this number (from 0), which is
    what KMIP does unless it is asked for something else (KMIP 1.1, 6.13)."""
    refusal = msgspec.structs.replace(
        answer.batch_item[number],
        result_status=ResultStatus.OPERATION_FAILED,
        result_reason=ResultReason.PERMISSION_DENIED,
        result_message="no room",
        response_payload=None,
    )
    items = (*answer.batch_item[:number], refusal)
    header = msgspec.structs.replace(answer.response_header, batch_count=len(items))
    return msgspec.structs.replace(answer, response_header=header, batch_item=items)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_batch_that_stops_at_a_refusal_is_refused_for_its_reason(number: int) -> None:
    names = ("x-Vendor", "x-Product", "x-Name")
    tags = dialect.add_tags(UID, [(name, "v") for name in names])
    whole = response(
        *[
            AddAttributeResponse(
                unique_identifier=UID,
                attribute=Attribute(attribute_name=name, attribute_value="v"),
            )
            for name in names
        ]
    )
    with pytest.raises(dialect.OperationFailed, match=r"^Permission Denied: no room$"):
        dialect.take_payloads(tags, refused_at(number, whole))


def test_a_batch_that_stops_without_a_refusal_is_no_answer() -> None:
    tags = dialect.add_tags(UID, [("x-Vendor", "v"), ("x-Product", "p")])
    attribute = Attribute(attribute_name="x-Vendor", attribute_value="v")
    one = response(AddAttributeResponse(unique_identifier=UID, attribute=attribute))
    with pytest.raises(KmipError, match="1 items answer 2"):
        dialect.take_payloads(tags, one)


ACTIVATED = response(ActivateResponse(unique_identifier=UID))


def of_version(major: int, minor: int) -> ResponseMessage:
    """The answer to Activate, under another version of KMIP."""
    version = ProtocolVersion(protocol_version_major=major, protocol_version_minor=minor)
    header = msgspec.structs.replace(ACTIVATED.response_header, protocol_version=version)
    return msgspec.structs.replace(ACTIVATED, response_header=header)


@pytest.mark.parametrize(
    "wrong",
    [
        answered(ACTIVATED, unique_batch_item_id=dialect.batch_id(2)),
        RESPONSES["Get"][0],
        answered(ACTIVATED, response_payload=None),
        response(*[ActivateResponse(unique_identifier=UID)] * 2),
        msgspec.structs.replace(ACTIVATED, batch_item=()),
        of_version(2, 1),
    ],
    ids=["another id", "another operation", "no payload", "two items", "no item", "KMIP 2.1"],
)
def test_an_answer_to_something_else_is_none(wrong: ResponseMessage) -> None:
    with pytest.raises(KmipError):
        dialect.take_payloads(dialect.activate(UID), wrong)


def test_an_answer_may_be_of_another_minor_version() -> None:
    assert dialect.take_payloads(dialect.activate(UID), of_version(1, 4))


def test_an_answer_that_is_to_come_later_is_a_failure_that_says_so() -> None:
    """Nobody has asked for one (KMIP 1.4 section 5.1)."""
    later = answered(ACTIVATED, result_status=ResultStatus.OPERATION_PENDING, response_payload=None)
    with pytest.raises(dialect.OperationFailed, match=r"^Operation Pending$"):
        dialect.take_payloads(dialect.activate(UID), later)


def test_a_server_need_not_repeat_the_id_of_an_only_item() -> None:
    assert dialect.take_payloads(
        dialect.activate(UID), answered(ACTIVATED, unique_batch_item_id=None)
    )


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_what_is_no_key_of_256_bits_is_no_material(size: int) -> None:
    held = aes(KeyMaterial(bytes(size)))
    with pytest.raises(KmipError, match="256 bits"):
        dialect.material(GetResponse(object_type=2, unique_identifier=UID, object=held))


def test_a_user_name_is_in_the_header_of_what_needs_it() -> None:
    by = login("secret")
    for message in (dialect.create(by), dialect.get(UID, by), dialect.activate(UID, by)):
        assert message.request_header.authentication is not None
    assert dialect.discover_versions().request_header.authentication is None
    assert dialect.add_tags(UID, [("x-Name", "n")]).request_header.authentication is None
