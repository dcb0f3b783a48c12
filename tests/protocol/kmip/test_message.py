"""Whole messages: vCenter's to the byte, what is refused and why, and who is shown what."""

from __future__ import annotations

import struct
from typing import Any

import msgspec
import pytest

from protocol.kmip import dialect
from protocol.kmip import payloads as p
from protocol.kmip.enums import KmipError, Operation, ResultReason, State
from protocol.kmip.fields import Fields, Unread
from protocol.kmip.message import (
    Credential,
    RequestMessage,
    UsernameAndPassword,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)
from protocol.kmip.objects import Attribute
from protocol.kmip.tags import Tag
from protocol.kmip.ttlv import SIZE_LIMIT, TtlvItem, Type, encode, parse
from protocol.secret import KeyMaterial
from tests.protocol.kmip.vcenter import (
    REQUESTS,
    RESPONSES,
    UID,
    aes,
    login,
    response,
)

ADD = encode_request(REQUESTS["AddAttribute"][0])
GET = encode_request(REQUESTS["Get"][0])


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_as_long_as_vcenters_and_comes_back(name: str) -> None:
    message, size = REQUESTS[name]
    data = encode_request(message)
    assert len(data) == size
    assert decode_request(data) == message
    assert encode(parse(data)) == data


@pytest.mark.parametrize("name", RESPONSES)
def test_a_response_is_as_long_as_vcenters_and_comes_back(name: str) -> None:
    message, size = RESPONSES[name]
    data = encode_response(message)
    assert len(data) == size
    assert decode_response(data) == message
    assert encode(parse(data)) == data


def test_the_first_request_of_vcenter_to_the_byte() -> None:
    data = encode_request(REQUESTS["DiscoverVersions"][0])
    assert data.hex() == (
        "4200780100000060"
        "4200770100000038"
        "4200690100000020"
        "42006a02000000040000000100000000"
        "42006b02000000040000000100000000"
        "42000d02000000040000000100000000"
        "42000f0100000018"
        "42005c05000000040000001e00000000"
        "4200790100000000"
    )


# ---- what is no message ------------------------------------------------------------------------


def replaced(data: bytes, old: str, new: str) -> bytes:
    """With some of its bytes changed; both texts are hex and equally long."""
    a, b = bytes.fromhex(old), bytes.fromhex(new)
    assert len(a) == len(b)
    assert a in data
    return data.replace(a, b, 1)


REFUSED = {
    "nothing": (b"", "0 bytes are no item"),
    "a response": (encode_response(RESPONSES["Get"][0]), "no RequestMessage"),
    "half of it": (GET[:100], "128 bytes, where 92 are left"),
    "more than it": (GET + bytes(8), "8 bytes behind"),
    "too large": (bytes(SIZE_LIMIT + 8), "at most"),
    "another count": (
        replaced(GET, "42000d020000000400000001", "42000d020000000400000002"),
        "Batch Count is 2, and there are 1 items",
    ),
    "no count": (
        replaced(GET, "42000d020000000400000001", "420008020000000400000001"),
        "BatchCount is missing; there is Attribute",
    ),
    "a count that is a text": (
        replaced(GET, "42000d0200000004", "42000d0700000004"),
        "BatchCount is missing; there is BatchCount .TextString",
    ),
    "a version in another order": (
        replaced(GET, "42006a02", "42006b02"),
        "ProtocolVersionMajor is missing",
    ),
    "an unknown field in the header": (
        replaced(GET, "42006b02", "54000102"),
        "0x540001 .Integer",
    ),
    "an integer of 8 bytes": (replaced(GET, "42006a0200000004", "42006a0200000008"), "8 bytes"),
    "an integer with padding": (
        replaced(GET, "42006a02000000040000000100000000", "42006a02000000040000000100000001"),
        "padding is not zero",
    ),
    "a length beyond the end": (replaced(GET, "4200940700000001", "42009407ffffffff"), "are left"),
    "a length into the next item": (
        replaced(ADD, "42000f0100000080", "42000f0100000088"),
        "BatchItem",
    ),
    "text that is not UTF-8": (
        replaced(ADD, "782d56656e646f72", "782d56656e646fff"),
        "not UTF-8",
    ),
}


@pytest.mark.parametrize(("data", "text"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_request_is_refused_with_one_error(data: bytes, text: str) -> None:
    with pytest.raises(KmipError, match=text) as caught:
        decode_request(data)
    assert caught.value.reason is ResultReason.INVALID_MESSAGE
    seen: BaseException | None = caught.value
    while seen is not None:  # a decoder's own exception has the bytes in it
        assert isinstance(seen, KmipError | struct.error)
        seen = seen.__context__


def item(payload: Any, operation: int = Operation.GET) -> bytes:
    """A request whose payload is this tree, or whatever another operation has."""
    node = parse(GET)
    header, batch = node.value
    ops = TtlvItem(Tag.OPERATION, Type.ENUMERATION, operation)
    kept = payload if payload is not None else batch.value[2]
    changed = TtlvItem(batch.tag, batch.type, (ops, batch.value[1], kept))
    return encode(TtlvItem(node.tag, node.type, (header, changed)))


def payload(*children: TtlvItem) -> TtlvItem:
    """A payload with these items."""
    return TtlvItem(Tag.REQUEST_PAYLOAD, Type.STRUCTURE, children)


NAMED = TtlvItem(Tag.UNIQUE_IDENTIFIER, Type.TEXT_STRING, UID)


def attribute(name: str, value: TtlvItem) -> TtlvItem:
    """A payload that adds an attribute."""
    named = TtlvItem(Tag.ATTRIBUTE_NAME, Type.TEXT_STRING, name)
    return payload(NAMED, TtlvItem(Tag.ATTRIBUTE, Type.STRUCTURE, (named, value)))


def value(kind: Type, what: Any) -> TtlvItem:
    """An attribute's value."""
    return TtlvItem(Tag.ATTRIBUTE_VALUE, kind, what)


ADD_ATTRIBUTE = Operation.ADD_ATTRIBUTE
INVALID, FIELD = ResultReason.INVALID_MESSAGE, ResultReason.INVALID_FIELD
UNREAD = {
    "an operation of 2.0": (item(None, 0x2C), ResultReason.OPERATION_NOT_SUPPORTED, "not read"),
    "an operation of a vendor": (
        item(None, 0x8000_0001),
        ResultReason.OPERATION_NOT_SUPPORTED,
        "not read",
    ),
    "an operation without structs": (
        item(None, Operation.POLL),
        ResultReason.OPERATION_NOT_SUPPORTED,
        "not read",
    ),
    "a field twice": (item(payload(NAMED, NAMED)), INVALID, "does not belong there"),
    "a field of another operation": (
        item(payload(NAMED, TtlvItem(Tag.OFFSET, Type.INTERVAL, 1))),
        INVALID,
        "Offset .Interval. does not belong there",
    ),
    "a field of another type": (
        item(payload(TtlvItem(Tag.UNIQUE_IDENTIFIER, Type.INTEGER, 1))),
        INVALID,
        "UniqueIdentifier .Integer. does not belong there",
    ),
    "no attribute": (item(payload(NAMED), ADD_ATTRIBUTE), INVALID, "Attribute is missing"),
    "a format that nobody has": (
        item(payload(NAMED, TtlvItem(Tag.KEY_FORMAT_TYPE, Type.ENUMERATION, 0x99))),
        FIELD,
        "0x99 is no KeyFormatType",
    ),
    "a state that is a text": (
        item(attribute("State", value(Type.TEXT_STRING, "Active")), ADD_ATTRIBUTE),
        FIELD,
        "State: AttributeValue of another type",
    ),
    "a state that nobody has": (
        item(attribute("State", value(Type.ENUMERATION, 7)), ADD_ATTRIBUTE),
        FIELD,
        "0x7 is no State",
    ),
}


@pytest.mark.parametrize(("data", "reason", "text"), UNREAD.values(), ids=UNREAD)
def test_a_strange_payload_is_its_items_alone(data: bytes, reason: ResultReason, text: str) -> None:
    message = decode_request(data)
    unread = message.batch_item[0].request_payload
    assert isinstance(unread, Unread)
    assert unread.reason is reason
    with pytest.raises(ValueError, match=text):
        raise ValueError(unread.text)
    assert encode_request(message) == data


def test_one_strange_item_leaves_the_others_as_they_are() -> None:
    data = replaced(ADD, "42005c05000000040000000d", "42005c05000000040000002c")
    strange, second, third = decode_request(data).batch_item
    assert strange.operation == 0x2C
    assert isinstance(strange.request_payload, Unread)
    assert isinstance(second.request_payload, p.AddAttributeRequest)
    assert isinstance(third.request_payload, p.AddAttributeRequest)


def test_a_vendors_own_values_are_numbers() -> None:
    data = item(payload(NAMED, TtlvItem(Tag.KEY_FORMAT_TYPE, Type.ENUMERATION, 0x8000_0007)))
    [got] = decode_request(data).batch_item
    assert isinstance(got.request_payload, p.GetRequest)
    assert got.request_payload.key_format_type == 0x8000_0007
    custom = value(Type.STRUCTURE, (TtlvItem(0x54ABCD, Type.BOOLEAN, True),))
    data = item(attribute("x-Mine", custom), ADD_ATTRIBUTE)
    [added] = decode_request(data).batch_item
    assert isinstance(added.request_payload, p.AddAttributeRequest)
    assert added.request_payload.attribute.attribute_value == custom


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 16, 63, 64, 65, 4000])
@pytest.mark.parametrize("letter", ["v", "\u00fc", "\u20ac", "\U0001f511"])
def test_names_of_any_length_and_letter_come_back(letter: str, length: int) -> None:
    message = dialect.add_tags(UID, [("x-Name", letter * length), (f"x-{letter * length}", letter)])
    data = encode_request(message)
    assert decode_request(data) == message
    assert encode(parse(data)) == data


def test_a_credential_of_an_unknown_kind_is_kept() -> None:
    data = encode_request(dialect.get(UID, login("secret")))
    strange = replaced(data, "420024050000000400000001", "420024050000000480000001")
    authentication = decode_request(strange).request_header.authentication
    assert authentication is not None
    [credential] = authentication.credential
    assert isinstance(credential.credential_value, Unread)
    assert credential.credential_value.reason is ResultReason.AUTHENTICATION_NOT_SUCCESSFUL
    assert encode_request(decode_request(strange)) == strange


# ---- what has no bytes -------------------------------------------------------------------------


def test_a_count_that_is_not_the_number_of_items_has_no_bytes() -> None:
    message = REQUESTS["AddAttribute"][0]
    wrong = msgspec.structs.replace(
        message, request_header=msgspec.structs.replace(message.request_header, batch_count=2)
    )
    with pytest.raises(KmipError, match="Batch Count is 2, and there are 3 items"):
        encode_request(wrong)
    answer = RESPONSES["Get"][0]
    with pytest.raises(KmipError, match="there are 0 items"):
        encode_response(msgspec.structs.replace(answer, batch_item=()))


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("x-Name", "\ud800"),
        ("Cryptographic Length", 2**31),
        ("Lease Time", -1),
        ("State", 2**32),
        ("Initial Date", 2**63),
    ],
)
def test_a_value_that_ttlv_does_not_hold_has_no_bytes(name: str, what: Any) -> None:
    with pytest.raises(KmipError, match="no place in TTLV") as caught:
        encode_request(dialect.add_tags(UID, [(name, what)]))
    assert caught.value.__context__ is None


def test_what_is_too_large_has_no_bytes() -> None:
    with pytest.raises(KmipError, match="at most"):
        encode_request(dialect.add_tags(UID, [("x-Name", "v" * SIZE_LIMIT)]))


def test_something_else_than_an_object_is_a_defect() -> None:
    made: Any = p.RegisterRequest(
        object_type=2, template_attribute=dialect.TEMPLATE, object=msgspec.structs.replace(aes())
    )
    wrong = msgspec.structs.replace(made, object=STATE)
    with pytest.raises(TypeError, match="no object"):
        encode_request(dialect.request((wrong,)))


STATE = Attribute(attribute_name="State", attribute_value=State.ACTIVE)

# ---- who is shown what -------------------------------------------------------------------------

SECRET = b"what nobody may ever see"
HIDDEN: dict[str, Fields] = {
    "a key that is got": p.GetResponse(
        object_type=2, unique_identifier=UID, object=aes(KeyMaterial(SECRET))
    ),
    "what is decrypted": p.DecryptResponse(unique_identifier=UID, data=KeyMaterial(SECRET)),
}
ASKED: dict[str, Fields] = {
    "a key that is brought": p.RegisterRequest(
        object_type=2, template_attribute=dialect.TEMPLATE, object=aes(KeyMaterial(SECRET))
    ),
    "what is to be encrypted": p.EncryptRequest(unique_identifier=UID, data=KeyMaterial(SECRET)),
}


def unseen(thing: object) -> bool:
    """Whether it shows nothing of the secret."""
    text = repr(thing) + str(thing)
    return SECRET.decode() not in text and SECRET.hex() not in text and "nobody" not in text


@pytest.mark.parametrize("name", HIDDEN)
def test_no_key_is_shown_of_a_response(name: str) -> None:
    data = encode_response(response(HIDDEN[name]))
    assert SECRET in data
    assert unseen(decode_response(data))
    assert unseen(parse(data))


@pytest.mark.parametrize("name", ASKED)
def test_no_key_is_shown_of_a_request(name: str) -> None:
    data = encode_request(dialect.request((ASKED[name],), login(SECRET.decode())))
    assert SECRET in data
    message = decode_request(data)
    assert unseen(message)
    assert unseen(parse(data))
    other = replaced(data, "42005c0500000004", "42005c0500000004")
    strange = bytearray(other)
    strange[strange.index(bytes.fromhex("42005c05")) + 11] = 0x1A  # Poll
    assert unseen(decode_request(bytes(strange)))


@pytest.mark.parametrize("name", ASKED)
def test_no_key_is_shown_of_an_error(name: str) -> None:
    data = encode_request(dialect.request((ASKED[name],), login(SECRET.decode())))
    for place in range(len(data)):
        broken = data[:place] + bytes([data[place] ^ 0x81]) + data[place + 1 :]
        try:
            shown: object = decode_request(broken)
        except KmipError as error:
            shown = error
            assert error.__cause__ is None
            assert not isinstance(error.__context__, UnicodeError)
        assert unseen(shown)


def test_a_password_is_compared_and_not_shown() -> None:
    credential = Credential(
        credential_type=1,
        credential_value=UsernameAndPassword(username="a", password=KeyMaterial(SECRET)),
    )
    assert unseen(credential)
    message: RequestMessage = decode_request(
        encode_request(dialect.request((p.GetAttributesRequest(),), login(SECRET.decode())))
    )
    authentication = message.request_header.authentication
    assert authentication is not None
    assert authentication.credential == (credential,)
