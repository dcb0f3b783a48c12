"""What compiled decoders and encoders call: packers, tables, and all that is out of the usual."""

from __future__ import annotations

import struct
from typing import Final

from protocol.kmip.enums import EXTENSIONS, Code, KmipError, Operation, ResultReason
from protocol.kmip.fields import Unread
from protocol.kmip.ttlv import Type, parse_item, tag_name

head: Final = struct.Struct(">II").unpack_from
integer: Final = struct.Struct(">iI").unpack_from
interval: Final = struct.Struct(">II").unpack_from
long: Final = struct.Struct(">q").unpack_from
ZEROS: Final = tuple(bytes(n) for n in range(8))
BOOLEANS: Final = {bytes(8): False, bytes(7) + b"\1": True}

pack_head: Final = struct.Struct(">II").pack
pack_integer: Final = struct.Struct(">IIiI").pack
pack_unsigned: Final = struct.Struct(">IIII").pack
pack_long: Final = struct.Struct(">IIq").pack
SHORT: Final = 64
PACK_BYTES: Final = tuple(struct.Struct(f">II{n}s{-n & 7}x").pack for n in range(SHORT))
"""Head, bytes and padding in one call, for the lengths that ids and names have."""

FAILURES: Final = (KmipError, struct.error, UnicodeDecodeError)
"""What a decoder raises; only the first leaves this package."""


def pack_bytes(key: int, size: int, raw: bytes) -> bytes:
    """An item of ``size`` bytes; ``PACK_BYTES`` is for short ones."""
    return pack_head(key, size) + raw + ZEROS[-size & 7]


def codes(cls: type[Code]) -> dict[bytes, Code]:
    """The members of an enumeration by the eight bytes that each is on the wire."""
    return {struct.pack(">I4x", member): member for member in cls}


def misfit(where: str, wanted: str, t: int, pos: int) -> KmipError:
    """Something else than what the schema has there; ``t`` 0 is nothing."""
    return KmipError(f"byte {pos}, {where}: {wanted} is missing; there is {_describe_item(t)}")


def wrong_type(where: str, wanted: str, t: int, pos: int) -> KmipError:
    """A value of another type than the name in front of it says."""
    text = f"byte {pos}, {where}: {wanted} of another type is there, {_describe_item(t)}"
    return KmipError(text, ResultReason.INVALID_FIELD)


def stray(where: str, t: int, pos: int, end: int) -> KmipError:
    """More, or an item that ends beyond its structure."""
    if pos > end:
        return KmipError(f"byte {end}, {where}: its last item is longer than what is left")
    return KmipError(f"byte {pos}, {where}: {_describe_item(t)} does not belong there")


def wrong_length(where: str, label: str, pos: int) -> KmipError:
    """A length that is not its type's, or padding that is not zero."""
    return KmipError(f"byte {pos}, {where}: {label} has a wrong length, value or padding")


def strange_code(data: bytes, pos: int, n: int, cls: type[Code], where: str) -> int:
    """An enumeration's value that has no member here: a vendor's own, or any operation.

    An operation is for the item that asks for it to be refused, not for the message.
    """
    value, padding = interval(data, pos + 8)
    if n != 4 or padding:
        raise wrong_length(where, cls.__name__, pos)
    if value not in EXTENSIONS and cls is not Operation:
        text = f"byte {pos}, {where}: {value:#x} is no {cls.__name__} of KMIP 1.x"
        raise KmipError(text, ResultReason.INVALID_FIELD)
    return int(value)


def unread(
    data: bytes, pos: int, end: int, depth: int, why: Exception | None, otherwise: ResultReason
) -> Unread:
    """The structure at ``pos`` as a tree: nobody has a class for it, or it is not like its class.

    ``KmipError`` when it is not even well formed.
    """
    node, _ = parse_item(data, pos, end, depth)
    if isinstance(why, KmipError):
        return Unread(node, why.reason, str(why))
    return Unread(node, otherwise, f"{tag_name(node.tag)} of a kind that is not read here")


def _describe_item(t: int) -> str:
    if t == 0:
        return "nothing more"
    kind = t & 0xFF
    return f"{tag_name(t >> 8)} ({Type(kind).label if kind in _TYPES else f'type {kind}'})"


_TYPES: Final = frozenset(Type)
