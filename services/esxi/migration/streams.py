"""The memory of a guest cut into the parts of a stream. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from protocol.crypto.stream import StreamCipher
from protocol.errors import InvalidArgument
from protocol.messages.base import Sealed
from protocol.messages.host import StreamKey
from protocol.terms import VmName

PART_SIZE: Final = 32_768
"""Bytes of memory in one message."""


def cipher_of(stream: StreamKey | None, material: Sealed | None) -> StreamCipher | None:
    """The cipher of a stream; None: the stream is in clear. ``InvalidArgument`` for half of a
    key."""
    if stream is None and material is None:
        return None
    if stream is None or material is None or len(material.keys) != 1:
        raise InvalidArgument("stream, material: a stream has one key, and its nonce base")
    return StreamCipher(material.keys[0], stream.nonce_base)


def parts(data: bytes) -> Iterator[tuple[int, bytes, bool]]:
    """Number, bytes, and whether it is the last, of each part; at least one part."""
    count = max(1, -(-len(data) // PART_SIZE))
    for number in range(count):
        part = data[number * PART_SIZE : (number + 1) * PART_SIZE]
        yield number, part, number == count - 1


def part_aad(vm: VmName, migration: str, number: int, *, last: bool) -> bytes:
    """The context that a part is sealed for: it does not open elsewhere, or as another part."""
    return f"keystead migration|{vm}|{migration}|{number}|{'last' if last else 'more'}".encode()
