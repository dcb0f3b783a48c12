"""Counts of iterations in a file of DER that is not trusted: looked at before anything is derived.

A PKCS#12 file names how often its password is hashed, and a reader does that before it can know
whether the password is right. In the parameters of PBKDF2 (RFC 8018), of PKCS#12's own scheme and
in MacData (RFC 7292) the count is an INTEGER that follows the salt, an OCTET STRING, in a SEQUENCE.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

_INTEGER, _OCTETS, _SEQUENCE = 0x02, 0x04, 0x30
_CONSTRUCTED: Final = 0x20
_DEPTH: Final = 32


def iterations(data: bytes, *, depth: int = _DEPTH) -> Iterator[int]:
    """Every count of iterations that stands in clear in ``data``; none where it is no DER."""
    for tag, content in _elements(data):
        if depth and (tag & _CONSTRUCTED or tag == _OCTETS):
            yield from iterations(content, depth=depth - 1)
        if tag == _SEQUENCE:
            parts = list(_elements(content))
            for (before, _), (kind, number) in pairwise(parts):
                if (before, kind) == (_OCTETS, _INTEGER):
                    yield int.from_bytes(number, "big")


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element one after the other; it ends where something is no DER."""
    at = 0
    while at + 2 <= len(data):
        tag, size, at = data[at], data[at + 1], at + 2
        if size & 0x80:
            many = size & 0x7F
            if not 0 < many <= 4 or at + many > len(data):
                return
            size, at = int.from_bytes(data[at : at + many], "big"), at + many
        if at + size > len(data):
            return
        yield tag, data[at : at + size]
        at += size
