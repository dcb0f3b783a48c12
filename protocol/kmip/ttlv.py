"""TTLV (KMIP 1.4 section 9.1): bytes to a tree of items and back, strictly and without loss.

A tree has whatever is well formed, with tags that nobody knows too. What parses encodes to the
same bytes, and everything else is a ``KmipError``: a message above 1 MiB, structures more than 32
deep, a length that is not its type's or leaves its structure, padding that is not zero, text that
is not UTF-8, a Boolean that is neither, bytes behind the message.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import msgspec

from protocol.kmip.enums import Code, KmipError
from protocol.kmip.tags import Tag

SIZE_LIMIT: Final = 1 << 20
"""Bytes of a message, its first eight included."""
DEPTH_LIMIT: Final = 32
"""Structures within each other, the message itself being the first."""
HEAD: Final = 8
"""Bytes of tag, type and length."""


class Type(Code):
    """Types of items (KMIP 1.4 section 9.1.1.2)."""

    STRUCTURE = 1
    INTEGER = 2
    LONG_INTEGER = 3
    BIG_INTEGER = 4
    ENUMERATION = 5
    BOOLEAN = 6
    TEXT_STRING = 7
    BYTE_STRING = 8
    DATE_TIME = 9
    INTERVAL = 10


class TtlvItem(msgspec.Struct, frozen=True, gc=False):
    """One item. ``value`` by ``type``:

    a tuple of nodes (Structure), ``str`` (Text String), ``bytes`` (Byte String, and Big Integer:
    two's complement, a multiple of eight bytes), ``bool``, else ``int``; dates are Unix seconds.
    Shown without what may be a key or a password under whatever tag: of bytes, big integers and
    texts that are no names of KMIP's there is the size only.
    """

    tag: int
    type: Type
    value: Any

    def __repr__(self) -> str:
        name = tag_name(self.tag)
        if isinstance(self.value, bytes):
            return f"{name}({len(self.value)} bytes)"
        if isinstance(self.value, str) and self.tag not in _SHOWN:
            return f"{name}({len(self.value)} characters)"
        return f"{name}({', '.join(map(repr, self.value)) if self.items() else repr(self.value)})"

    def items(self) -> tuple[TtlvItem, ...]:
        """Its children; none when it is no Structure."""
        return self.value if isinstance(self.value, tuple) else ()


def tag_name(tag: int) -> str:
    """A tag's name in KMIP's XML, or its number."""
    return Tag(tag).label if tag in _TAGS else f"0x{tag:06X}"


_TAGS: Final = frozenset(Tag)
_SHOWN: Final = (Tag.ATTRIBUTE_NAME, Tag.UNIQUE_IDENTIFIER)
_PREFIXES: Final = (0x42, 0x54)  # standard, and of vendors
_TYPES: Final = {member.value: member for member in Type}
_HEAD: Final = struct.Struct(">II")
_VALUES: Final = {
    Type.INTEGER: struct.Struct(">i4x"),
    Type.LONG_INTEGER: struct.Struct(">q"),
    Type.ENUMERATION: struct.Struct(">I4x"),
    Type.BOOLEAN: struct.Struct(">Q"),
    Type.DATE_TIME: struct.Struct(">q"),
    Type.INTERVAL: struct.Struct(">I4x"),
}
_SIZES: Final = {
    Type.INTEGER: 4,
    Type.LONG_INTEGER: 8,
    Type.ENUMERATION: 4,
    Type.BOOLEAN: 8,
    Type.DATE_TIME: 8,
    Type.INTERVAL: 4,
}


def message_size(head: bytes) -> int:
    """Bytes of the message that begins with these eight, for who reads from a stream."""
    if len(head) != HEAD:
        raise KmipError(f"a message begins with {HEAD} bytes, not {len(head)}")
    first, length = _HEAD.unpack(head)
    if first & 0xFF != Type.STRUCTURE or first >> 8 not in (
        Tag.REQUEST_MESSAGE,
        Tag.RESPONSE_MESSAGE,
    ):
        raise KmipError("this is not the beginning of a message of KMIP")
    if length + HEAD > SIZE_LIMIT:
        raise KmipError(f"a message of {length + HEAD} bytes: at most {SIZE_LIMIT}")
    return int(length) + HEAD


def parse(data: bytes) -> TtlvItem:
    """The one item that ``data`` is."""
    if len(data) > SIZE_LIMIT:
        raise KmipError(f"a message of {len(data)} bytes: at most {SIZE_LIMIT}")
    node, end = parse_item(data, 0, len(data), 1)
    if end != len(data):
        raise KmipError(f"byte {end}: {len(data) - end} bytes behind the message")
    return node


def parse_item(data: bytes, at: int, end: int, depth: int) -> tuple[TtlvItem, int]:
    """The item at ``at`` that lies before ``end``, and where it ends, its padding included.

    ``depth``: how deep it is, should it be a structure; the message has 1.
    """
    if end - at < HEAD:
        raise KmipError(f"byte {at}: {end - at} bytes are no item")
    first, length = _HEAD.unpack_from(data, at)
    tag, kind = first >> 8, _TYPES.get(first & 0xFF)
    if tag >> 16 not in _PREFIXES:
        raise KmipError(f"byte {at}: 0x{tag:06X} is no tag")
    where = f"byte {at}, {tag_name(tag)}"
    if kind is None:
        raise KmipError(f"{where}: type {first & 0xFF} is none of KMIP 1.x")
    begin = at + HEAD
    stop = begin + length
    after = stop + (-length & 7)
    if after > end:
        raise KmipError(f"{where}: {length} bytes, where {end - begin} are left")
    if kind is Type.STRUCTURE:
        return TtlvItem(tag, kind, _children(data, begin, stop, depth, where)), after
    value = _value(data, begin, stop, kind, where)
    if data[stop:after].strip(b"\0"):
        raise KmipError(f"{where}: its padding is not zero")
    return TtlvItem(tag, kind, value), after


def _children(data: bytes, at: int, end: int, depth: int, where: str) -> tuple[TtlvItem, ...]:
    if depth > DEPTH_LIMIT:
        raise KmipError(f"{where}: deeper than {DEPTH_LIMIT} structures")
    if end - at & 7:
        raise KmipError(f"{where}: {end - at} bytes, not a multiple of 8")
    found = []
    while at < end:
        node, at = parse_item(data, at, end, depth + 1)
        found.append(node)
    return tuple(found)


def _value(data: bytes, begin: int, stop: int, kind: Type, where: str) -> Any:
    length = stop - begin
    if kind in _SIZES:
        if length != _SIZES[kind]:
            raise KmipError(f"{where}: {kind.label} of {length} bytes, not {_SIZES[kind]}")
        [number] = _VALUES[kind].unpack_from(data, begin)
        if kind is not Type.BOOLEAN:
            return number
        if number > 1:
            raise KmipError(f"{where}: a Boolean is 0 or 1")
        return bool(number)
    raw = data[begin:stop]
    if kind is Type.BYTE_STRING:
        return raw
    if kind is Type.BIG_INTEGER:
        if not length or length & 7:
            raise KmipError(f"{where}: BigInteger of {length} bytes, not a multiple of 8")
        return raw
    text = _text(raw)
    if text is None:
        raise KmipError(f"{where}: its text is not UTF-8")
    return text


def _text(raw: bytes) -> str | None:
    """None for what is not UTF-8: the exception of the decoder has the bytes in it."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def encode(node: TtlvItem) -> bytes:
    """The bytes of ``node``; ``KmipError`` when there are none that would parse."""
    data = _encode(node, 1)
    if len(data) > SIZE_LIMIT:
        raise KmipError(f"a message of {len(data)} bytes: at most {SIZE_LIMIT}")
    return data


def _encode(node: TtlvItem, depth: int) -> bytes:
    name = tag_name(node.tag)
    if node.tag >> 16 not in _PREFIXES:
        raise KmipError(f"{name} is no tag")
    if node.type is Type.STRUCTURE:
        if depth > DEPTH_LIMIT:
            raise KmipError(f"{name}: deeper than {DEPTH_LIMIT} structures")
        body = b"".join([_encode(child, depth + 1) for child in node.value])
        length = len(body)
    else:
        body, length = _encode_value(node, name)
    return _HEAD.pack(node.tag << 8 | node.type, length) + body


def _encode_value(node: TtlvItem, name: str) -> tuple[bytes, int]:
    """The value with its padding, and its length without."""
    packer = _VALUES.get(node.type)
    if packer is not None:
        try:
            return packer.pack(node.value), _SIZES[node.type]
        except struct.error:
            pass
        raise KmipError(f"{name}: a number that {node.type.label} does not hold")
    raw = _utf8(node.value) if node.type is Type.TEXT_STRING else node.value
    if raw is None:
        raise KmipError(f"{name}: its text has no UTF-8")
    if node.type is Type.BIG_INTEGER and (not raw or len(raw) & 7):
        raise KmipError(f"{name}: BigInteger of {len(raw)} bytes, not a multiple of 8")
    return raw + bytes(-len(raw) & 7), len(raw)


def _utf8(text: str) -> bytes | None:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return None
