"""Bytes to trees and back: the specification's examples, any tree, and each way to be wrong."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.kmip.enums import KmipError, ResultReason
from protocol.kmip.tags import Tag
from protocol.kmip.ttlv import (
    DEPTH_LIMIT,
    SIZE_LIMIT,
    TtlvItem,
    Type,
    encode,
    message_size,
    parse,
)

TAG = 0x420020

EXAMPLES = [  # KMIP 1.4 section 9.1.2
    ("4200200200000004 0000000800000000", Type.INTEGER, 8),
    ("4200200300000008 01B69B4BA5749200", Type.LONG_INTEGER, 123456789000000000),
    (
        "4200200400000010 0000000003FD35EB 6BC2DF4618080000",
        Type.BIG_INTEGER,
        (1234567890000000000000000000).to_bytes(16),
    ),
    ("4200200500000004 000000FF00000000", Type.ENUMERATION, 255),
    ("4200200600000008 0000000000000001", Type.BOOLEAN, True),
    ("420020070000000B 48656C6C6F20576F 726C640000000000", Type.TEXT_STRING, "Hello World"),
    ("4200200800000003 0102030000000000", Type.BYTE_STRING, b"\1\2\3"),
    ("4200200900000008 0000000047DA67F8", Type.DATE_TIME, 1205495800),
    ("4200200A00000004 000D2F0000000000", Type.INTERVAL, 864000),
    (
        "4200200100000020 4200040500000004 000000FE00000000 4200050200000004 000000FF00000000",
        Type.STRUCTURE,
        (TtlvItem(0x420004, Type.ENUMERATION, 254), TtlvItem(0x420005, Type.INTEGER, 255)),
    ),
]


@pytest.mark.parametrize(("text", "kind", "value"), EXAMPLES, ids=lambda v: str(v)[:20])
def test_the_examples_of_the_specification(text: str, kind: Type, value: object) -> None:
    data, node = bytes.fromhex(text), TtlvItem(TAG, kind, value)
    assert parse(data) == node
    assert encode(node) == data


VALUES = {
    Type.INTEGER: st.integers(-(2**31), 2**31 - 1),
    Type.LONG_INTEGER: st.integers(-(2**63), 2**63 - 1),
    Type.BIG_INTEGER: st.sampled_from((8, 16)).flatmap(lambda n: st.binary(min_size=n, max_size=n)),
    Type.ENUMERATION: st.integers(0, 2**32 - 1),
    Type.BOOLEAN: st.booleans(),
    Type.TEXT_STRING: st.text("aZ-\0\u00e9\u20ac\U0001f511", max_size=20),
    Type.BYTE_STRING: st.binary(max_size=20),
    Type.DATE_TIME: st.integers(-(2**63), 2**63 - 1),
    Type.INTERVAL: st.integers(0, 2**32 - 1),
}
TAGS = st.one_of(
    st.sampled_from(Tag).map(int), st.integers(0x420000, 0x42FFFF), st.integers(0x540000, 0x54FFFF)
)
LEAVES = st.sampled_from(list(VALUES)).flatmap(
    lambda kind: st.builds(TtlvItem, TAGS, st.just(kind), VALUES[kind])
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.builds(
        TtlvItem, TAGS, st.just(Type.STRUCTURE), st.lists(inner, max_size=5).map(tuple)
    ),
    max_leaves=30,
)


@pytest.mark.slow
@given(TREES)
def test_any_tree_comes_back(node: TtlvItem) -> None:
    data = encode(node)
    assert len(data) % 8 == 0
    back = parse(data)
    assert back == node
    assert encode(back) == data


def item(kind: int, length: int, body: bytes, tag: int = TAG) -> bytes:
    return struct.pack(">II", tag << 8 | kind, length) + body


def nested(depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        data = item(Type.STRUCTURE, len(data), data)
    return data


WRONG = {
    "nothing": (b"", "no item"),
    "half a head": (bytes.fromhex("420020020000"), "no item"),
    "no tag": (item(2, 4, bytes(8), 0x410020), "no tag"),
    "no type": (item(11, 8, bytes(8)), "type 11"),
    "type 0": (item(0, 8, bytes(8)), "type 0"),
    "longer than its message": (item(8, 17, bytes(16)), "17 bytes, where 16 are left"),
    "as long as a number can say": (item(8, 2**32 - 1, bytes(16)), "4294967295 bytes"),
    "longer than its structure": (
        item(1, 16, item(8, 9, bytes(8))) + bytes(8),
        "9 bytes, where 8 are left",
    ),
    "an integer of 8 bytes": (item(2, 8, bytes(8)), "Integer of 8 bytes, not 4"),
    "an integer of no bytes": (item(2, 0, b""), "Integer of 0 bytes, not 4"),
    "a date of 4 bytes": (item(9, 4, bytes(8)), "DateTime of 4 bytes, not 8"),
    "a big integer of 12 bytes": (item(4, 12, bytes(16)), "BigInteger of 12 bytes"),
    "a big integer of no bytes": (item(4, 0, b""), "BigInteger of 0 bytes"),
    "a structure of 4 bytes": (item(1, 4, bytes(8)), "not a multiple of 8"),
    "half an item in a structure": (item(1, 8, bytes(8)), "0x000000 is no tag"),
    "padding of a number": (item(2, 4, b"\0\0\0\1\0\0\0\1"), "padding"),
    "padding of a text": (item(7, 5, b"abcde\0\0\1"), "padding"),
    "padding of bytes": (item(8, 1, b"a\1\0\0\0\0\0\0"), "padding"),
    "text of Latin-1": (item(7, 4, "Zoë!".encode("latin-1") + bytes(4)), "UTF-8"),
    "half a surrogate pair": (item(7, 3, b"\xed\xa0\x80" + bytes(5)), "UTF-8"),
    "an overlong text": (item(7, 2, b"\xc0\x80" + bytes(6)), "UTF-8"),
    "a boolean of 2": (item(6, 8, bytes(7) + b"\2"), "Boolean"),
    "a boolean with a high bit": (item(6, 8, b"\x80" + bytes(6) + b"\1"), "Boolean"),
    "bytes behind it": (item(2, 4, bytes(8)) + bytes(8), "8 bytes behind"),
    "too deep": (nested(DEPTH_LIMIT + 1), f"deeper than {DEPTH_LIMIT}"),
    "too large": (item(8, SIZE_LIMIT - 7, bytes(SIZE_LIMIT)), f"at most {SIZE_LIMIT}"),
}


@pytest.mark.parametrize(("data", "text"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said(data: bytes, text: str) -> None:
    with pytest.raises(KmipError, match=text) as caught:
        parse(data)
    assert caught.value.reason is ResultReason.INVALID_MESSAGE
    assert caught.value.__context__ is None  # a decoder's own exception has the bytes in it


def test_what_is_just_allowed_is_taken() -> None:
    assert encode(parse(nested(DEPTH_LIMIT))) == nested(DEPTH_LIMIT)
    largest = item(8, SIZE_LIMIT - 8, bytes(SIZE_LIMIT - 8))
    assert encode(parse(largest)) == largest


@pytest.mark.parametrize(
    ("node", "text"),
    [
        (TtlvItem(TAG, Type.INTEGER, 2**31), "Integer does not hold"),
        (TtlvItem(TAG, Type.INTERVAL, -1), "Interval does not hold"),
        (TtlvItem(TAG, Type.ENUMERATION, 2**32), "Enumeration does not hold"),
        (TtlvItem(TAG, Type.TEXT_STRING, "\ud800"), "no UTF-8"),
        (TtlvItem(TAG, Type.BIG_INTEGER, b"abc"), "BigInteger of 3 bytes"),
        (TtlvItem(0x200000, Type.INTEGER, 1), "no tag"),
        (TtlvItem(TAG, Type.BYTE_STRING, bytes(SIZE_LIMIT)), "at most"),
    ],
)
def test_a_tree_without_bytes_is_said(node: TtlvItem, text: str) -> None:
    with pytest.raises(KmipError, match=text) as caught:
        encode(node)
    assert caught.value.__context__ is None


def test_a_tree_that_is_too_deep_has_no_bytes() -> None:
    node = TtlvItem(TAG, Type.INTEGER, 1)
    for _ in range(DEPTH_LIMIT + 1):
        node = TtlvItem(TAG, Type.STRUCTURE, (node,))
    with pytest.raises(KmipError, match="deeper"):
        encode(node)


def test_a_stream_learns_the_size_of_a_message_from_its_head() -> None:
    assert message_size(item(1, 96, b"", Tag.REQUEST_MESSAGE)) == 104
    assert message_size(item(1, SIZE_LIMIT - 8, b"", Tag.RESPONSE_MESSAGE)) == SIZE_LIMIT
    for head in (
        item(1, SIZE_LIMIT, b"", Tag.REQUEST_MESSAGE),
        item(2, 4, b"", Tag.REQUEST_MESSAGE),
        item(1, 96, b"", Tag.BATCH_ITEM),
        b"GET / HT",
        b"",
    ):
        with pytest.raises(KmipError):
            message_size(head)


def test_nobody_is_shown_what_may_be_a_key() -> None:
    secret = b"a secret of 24 bytes now"
    node = TtlvItem(
        Tag.KEY_VALUE,
        Type.STRUCTURE,
        (
            TtlvItem(Tag.KEY_MATERIAL, Type.BYTE_STRING, secret),
            TtlvItem(Tag.P, Type.BIG_INTEGER, secret),
            TtlvItem(Tag.PASSWORD, Type.TEXT_STRING, secret.decode()),
            TtlvItem(Tag.ATTRIBUTE_NAME, Type.TEXT_STRING, "State"),
        ),
    )
    text = repr(node)
    assert "secret" not in text
    assert secret.hex() not in text
    assert text == (
        "KeyValue(KeyMaterial(24 bytes), P(24 bytes), Password(24 characters), "
        "AttributeName('State'))"
    )
