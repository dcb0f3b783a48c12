"""Finding secrets in bytes, whatever they are written as.

A secret is cut into pieces of 16 bytes, and each piece is looked for as it is, backwards, in
hexadecimal, in base64 at each of its three alignments, and as Python shows bytes. A piece is
found wherever it stands: every form is longer than 15 bytes, so it covers one of the aligned
8-byte words of the data, and only words that occur are looked at closer.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_der_private_key

from protocol.kmip.errors import KmipError
from protocol.kmip.tags import Tag
from protocol.kmip.ttlv import parse

PIECE = 16


@dataclass(frozen=True)
class SearchedPlace:
    """Bytes of one place; ``kind`` is the sort of place, ``name`` tells it from its like."""

    kind: str
    name: str
    data: bytes


class Find(msgspec.Struct, frozen=True):
    """A piece of the secret ``secret`` (who made it) in a place, in a form; ``offset`` in bytes
    where it stands there first."""

    kind: str
    name: str
    secret: str
    form: str
    offset: int = 0


def pieces(secret: bytes) -> list[bytes]:
    """Pieces of 16 bytes; the last one may overlap the one before it. None of a shorter one."""
    if len(secret) < PIECE:
        return []
    starts = [*range(0, len(secret) - PIECE + 1, PIECE), len(secret) - PIECE]
    return [secret[start : start + PIECE] for start in dict.fromkeys(starts)]


def secret_parts(secret: bytes) -> list[bytes]:
    """What of it is secret: all, or of a private key as PKCS#8 its private numbers, for the public
    key stands in there too, and in certificates; of an item of KMIP what is hidden in it, for ids
    and names stand beside that, and elsewhere."""
    hidden = _find_hidden(secret)
    if hidden is not None:
        return hidden
    if secret[:1] != b"\x30":
        return [secret]
    try:
        key = load_der_private_key(secret, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return [secret]
    if isinstance(key, EllipticCurvePrivateKey):
        return [key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8)]
    if isinstance(key, RSAPrivateKey):
        numbers = key.private_numbers()
        return [
            number.to_bytes((number.bit_length() + 7) // 8)
            for number in (numbers.d, numbers.p, numbers.q)
        ]
    return [secret]


_HIDDEN: Final = (Tag.KEY_MATERIAL, Tag.KEY, Tag.KEY_VALUE, Tag.PASSWORD, Tag.DATA)
"""Tags under which bytes or a text are a key, a password, or what somebody encrypts."""


def _find_hidden(secret: bytes) -> list[bytes] | None:
    """Values under those tags in an item of KMIP, such as a message that one key server hands on to
    another; None for what is none."""
    if secret[:2] != b"\x42\x00":
        return None
    try:
        waiting = [parse(secret)]
    except KmipError:
        return None
    found: list[bytes] = []
    while waiting:
        node = waiting.pop()
        waiting += node.items()
        if node.tag in _HIDDEN and isinstance(node.value, bytes | str):
            found.append(node.value if isinstance(node.value, bytes) else node.value.encode())
    return found


def forms(piece: bytes) -> Iterator[tuple[str, bytes]]:
    """What the piece may be written as, by the name of the form."""
    yield "raw", piece
    yield "backwards", piece[::-1]
    yield "hex", piece.hex().encode()
    yield "HEX", piece.hex().upper().encode()
    for name, encode in (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode)):
        for before in range(3):
            # Characters that also depend on the bytes beside the piece are left out.
            text = encode(bytes(before) + piece)
            yield name, text[-(-before * 8 // 6) : (before + PIECE) * 8 // 6]
    shown = repr(piece)[2:-1].encode()
    yield "repr", shown
    yield "repr in JSON", shown.replace(b"\\", b"\\\\")


class Needles:
    """All forms of all secrets, by the words they may cover."""

    def __init__(self, secrets: Mapping[bytes, str]) -> None:
        self._all: dict[bytes, tuple[str, str]] = {}
        for secret, kind in secrets.items():
            for piece in (piece for part in secret_parts(secret) for piece in pieces(part)):
                if len(set(piece)) < 4:
                    continue  # padding and the like are no secret
                for form, needle in forms(piece):
                    self._all.setdefault(needle, (kind, form))
        self._words: dict[int, list[bytes]] = {}
        for needle in self._all:
            for start in range(8):
                word = int.from_bytes(needle[start : start + 8], sys.byteorder)
                self._words.setdefault(word, []).append(needle)

    def __len__(self) -> int:
        """How many forms of pieces are looked for."""
        return len(self._all)

    def find(self, place: SearchedPlace) -> Iterator[Find]:
        """What stands in the place."""
        data = place.data + bytes(-len(place.data) % 8)
        there = self._words.keys() & set(memoryview(data).cast("Q"))
        seen: set[bytes] = set()
        for word in there:
            for needle in self._words[word]:
                offset = -1 if needle in seen else place.data.find(needle)
                if offset >= 0:
                    seen.add(needle)
                    secret, form = self._all[needle]
                    yield Find(place.kind, place.name, secret, form, offset)


def search(secrets: Mapping[bytes, str], places: Iterable[SearchedPlace]) -> list[Find]:
    """Every secret that is found anywhere; ``secrets`` maps bytes to who made them."""
    needles = Needles(secrets)
    return [found for place in places for found in needles.find(place)]
