"""DER (X.690): untrusted files parsed into elements, the hash rounds they ask for, and writing.

A PKCS#12 file states how often its password is hashed, and a reader hashes that often before it can
know whether the password is right. In the parameters of PBKDF2 (RFC 8018), of PKCS#12's own scheme
and in MacData (RFC 7292) the count is an INTEGER that follows the salt, an OCTET STRING, in a
SEQUENCE. Readers also take BER, in which a count can be hidden from this check; BER is refused
here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

INTEGER: Final = 0x02
NULL: Final = b"\x05\x00"
OCTETS: Final = 0x04
OID: Final = 0x06
SEQUENCE: Final = 0x30
_CONSTRUCTED: Final = 0x20
_LONG_TAG: Final = 0x1F
_DEPTH: Final = 32
_OPAQUE: Final = 64  # bytes: no OCTET STRING that is longer, and begins as a SEQUENCE, is opaque


class NotDer(ValueError):
    """These bytes are not DER."""


class Element(NamedTuple):
    """One element: its raw ``content``, and the ``parts`` in it, if any.

    An OCTET STRING has parts when it holds DER.
    """

    tag: int
    content: bytes
    parts: tuple[Element, ...] = ()


def encode_element(tag: int, *parts: bytes) -> bytes:
    """One element whose content is ``parts`` joined."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(digits))) + digits + content


def integer(value: int) -> bytes:
    """A non-negative INTEGER."""
    return encode_element(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def elements(data: bytes, *, depth: int = _DEPTH) -> tuple[Element, ...]:
    """The elements of ``data``, parsed down to every part; ``NotDer`` when any part is not DER."""
    found, at = [], 0
    while at < len(data):
        tag, content, at = _element(data, at)
        parts: tuple[Element, ...] = ()
        nested = tag == OCTETS and len(content) > _OPAQUE and content[0] == SEQUENCE
        if tag & _CONSTRUCTED or nested:
            if not depth or tag == OCTETS | _CONSTRUCTED:
                raise NotDer("it is nested too deeply, or a string is in pieces")
            parts = elements(content, depth=depth - 1)
        found.append(Element(tag, content, parts))
    return tuple(found)


def iterations(found: Sequence[Element]) -> Iterator[int]:
    """All iteration counts among these elements and their parts."""
    for element in found:
        yield from iterations(element.parts)
        if element.tag == SEQUENCE:
            for before, after in pairwise(element.parts):
                if (before.tag, after.tag) == (OCTETS, INTEGER):
                    yield int.from_bytes(after.content, "big")


def _element(data: bytes, at: int) -> tuple[int, bytes, int]:
    """The tag and content of the element at ``at``, and the position of the next one."""
    if at + 2 > len(data) or data[at] & _LONG_TAG == _LONG_TAG:
        raise NotDer("it ends too early, or has a tag of several bytes")
    tag, size, at = data[at], data[at + 1], at + 2
    if size & 0x80:
        many = size & 0x7F
        if not 0 < many <= 4 or at + many > len(data):
            raise NotDer("a length is indefinite or missing")
        size, at = int.from_bytes(data[at : at + many], "big"), at + many
    if at + size > len(data):
        raise NotDer("it ends too early")
    return tag, data[at : at + size], at + size
