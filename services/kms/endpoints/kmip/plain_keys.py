"""Creates of one key without attributes, each like an earlier one but for its Unique Batch Item ID,
and answers that are like an earlier one but for that, time, and the key's id (decision 68).

A pattern is learnt as a form of a Get is (``forms``): what was decoded is encoded with another id,
and the bytes must be those in which just that piece is another one. It has nothing of a key in it,
and nothing of who asks.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

import msgspec

from protocol.kmip.enums import Operation
from protocol.kmip.message import RequestMessage, encode_request
from protocol.kmip.tags import Tag
from protocol.kmip.ttlv import HEAD, Node, Type, encode
from protocol.terms import KeyId
from services.kms.endpoints.kmip.forms import LARGEST, MOST
from services.kms.objects.request_types import Create

_CREATE: Final = encode(Node(Tag.OPERATION, Type.ENUMERATION, Operation.CREATE))
_ITEM: Final = (Tag.BATCH_ITEM << 8 | Type.STRUCTURE).to_bytes(4)
_ATTRIBUTE: Final = (Tag.ATTRIBUTE << 8 | Type.STRUCTURE).to_bytes(4)
_BATCH_ID: Final = (Tag.UNIQUE_BATCH_ITEM_ID << 8 | Type.BYTE_STRING).to_bytes(4)
_FACTS: Final = 3
"""Attributes that each Create has: algorithm, length, usage mask."""

_STAMP: Final = struct.Struct(">q")
_OTHER_STAMP: Final = 0x1B7E_A55E_0DD5_71AF

Write = Callable[[RequestMessage, KeyId, int], bytes]
"""The answer to a message that has made that key, at that time (Unix seconds)."""


def may_be(data: bytes) -> bool:
    """Whether a message looks like a Create of one key without attributes: whoever decodes it knows
    it, and others shall not be decoded in vain."""
    return (
        len(data) <= LARGEST
        and _CREATE in data
        and data.count(_ATTRIBUTE) <= _FACTS
        and data.count(_ITEM) == 1
    )


class Pattern:
    """Such a message, whatever its Unique Batch Item ID is. ``write`` writes an answer."""

    def __init__(self, message: RequestMessage, request: Create, write: Write) -> None:
        self.message, self.request, self._write = message, request, write
        self._answers: dict[tuple[int, int], tuple[bytes, ...] | None] = {}

    def answer(self, batch_id: bytes, key_id: KeyId, stamp: int) -> bytes:
        """What is written to the message with that id (empty: it has none), which has made that
        key, at that time (Unix seconds)."""
        kind = (len(batch_id), len(key_id))
        try:
            parts = self._answers[kind]
        except KeyError:
            parts = self._learn(batch_id, key_id, stamp)
        if parts is None:
            return self._write(with_id(self.message, batch_id), key_id, stamp)
        return _join(parts, batch_id, key_id, stamp)

    def _learn(self, batch_id: bytes, key_id: KeyId, stamp: int) -> tuple[bytes, ...] | None:
        """What is around the pieces of such an answer; None when that is not plain to see."""
        if len(self._answers) >= MOST:
            self._answers.clear()
        parts = self._parts(len(batch_id), len(key_id))
        if parts is not None:
            written = self._write(with_id(self.message, batch_id), key_id, stamp)
            if _join(parts, batch_id, key_id, stamp) != written:
                parts = None
        self._answers[len(batch_id), len(key_id)] = parts
        return parts

    def _parts(self, batch_size: int, key_size: int) -> tuple[bytes, ...] | None:
        """Of an answer whose pieces are seen in it; None when one of them is not there once."""
        batch_id, name = _other(batch_size), KeyId(_text(key_size))
        rest = self._write(with_id(self.message, batch_id), name, _OTHER_STAMP)
        pieces = (_STAMP.pack(_OTHER_STAMP), batch_id, name.encode())
        parts: list[bytes] = []
        for piece in filter(None, pieces):
            if rest.count(piece) != 1:
                return None
            before, _, rest = rest.partition(piece)
            parts.append(before)
        return (*parts, rest)


class Patterns:
    """Those that a server's clients have; ``whole``: those of messages that have no id."""

    def __init__(self) -> None:
        self.whole: dict[bytes, Pattern] = {}
        self._around: dict[bytes, Pattern] = {}  # by what is around the id

    def find(self, data: bytes) -> tuple[Pattern, bytes] | None:
        """The pattern of a message, and its Unique Batch Item ID (empty: it has none); None when
        none is known."""
        whole = self.whole.get(data)
        if whole is not None:
            return whole, b""
        begin, end = _batch_id(data)
        around = self._around.get(data[:begin] + data[end:]) if begin < end <= len(data) else None
        return None if around is None else (around, data[begin:end])

    def learn(self, data: bytes, pattern: Pattern) -> None:
        """That of a message: it is found from now on, if it is one that comes again. An id that is
        the other one shows nothing: then what looks like it may be what changes."""
        message = pattern.message
        [item] = message.batch_item
        header = message.request_header
        passing = (header.authentication, header.time_stamp, header.client_correlation_value)
        if passing != (None, None, None) or len(data) > LARGEST:
            return
        found = item.unique_batch_item_id
        if found is None:
            if encode_request(message) == data:
                _keep(self.whole, data, pattern)
            return
        begin, end = _batch_id(data)
        other = _other(len(found))
        if found in (b"", other) or data[begin:end] != found:
            return
        if encode_request(with_id(message, other)) == data[:begin] + other + data[end:]:
            _keep(self._around, data[:begin] + data[end:], pattern)


def _keep(known: dict[bytes, Pattern], data: bytes, pattern: Pattern) -> None:
    if len(known) >= MOST:
        known.clear()
    known[data] = pattern


def _batch_id(data: bytes) -> tuple[int, int]:
    """Where what looks like a Unique Batch Item ID begins and ends; the same when nothing does."""
    begin = data.find(_BATCH_ID) + HEAD
    if begin < HEAD:
        return 0, 0
    return begin, begin + int.from_bytes(data[begin - 4 : begin])


def _join(parts: tuple[bytes, ...], batch_id: bytes, key_id: KeyId, stamp: int) -> bytes:
    if not batch_id:
        first, second, last = parts
        return b"".join((first, _STAMP.pack(stamp), second, key_id.encode(), last))
    first, second, third, last = parts
    stamped = (first, _STAMP.pack(stamp), second, batch_id, third, key_id.encode(), last)
    return b"".join(stamped)


def with_id(message: RequestMessage, batch_id: bytes) -> RequestMessage:
    """The message with another Unique Batch Item ID; empty: as it is."""
    if not batch_id:
        return message
    [item] = message.batch_item
    items = (msgspec.structs.replace(item, unique_batch_item_id=batch_id),)
    return msgspec.structs.replace(message, batch_item=items)


def _other(size: int) -> bytes:
    """As hardly an id is."""
    return (b"\xa7\x5b" * size)[:size]


def _text(size: int) -> str:
    return ("~!" * size)[:size]
