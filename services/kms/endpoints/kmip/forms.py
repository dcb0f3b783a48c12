"""Templates of Gets, learnt from messages. Requests that differ only in the id are not decoded
again, and answers that differ only in time, id and material are not encoded again.

Decoding and encoding give the same bytes. When a message with another id of the same length encodes
to bytes that differ only in that id, the form is valid for every id of that length. This is tested
once for each form, as are the positions of the variable pieces in an answer. A form holds nothing
of a key or of a caller.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

import msgspec

from protocol.kmip.message import RequestMessage, encode_request
from protocol.kmip.payloads import GetRequest
from protocol.kmip.tags import Tag
from protocol.kmip.ttlv import HEAD, Type
from protocol.secret import KeyMaterial
from services.kms.objects.request_types import GotKey

MOST: Final = 64
"""How many forms are known at a time: clients have few, and each its own."""

LARGEST: Final = 1024
"""Largest message that becomes a form, in bytes. A client may fill a message with a mebibyte of ids
and extensions, and each form and answer would be as large."""

_ID: Final = (Tag.UNIQUE_IDENTIFIER << 8 | Type.TEXT_STRING).to_bytes(4)
_STAMP: Final = struct.Struct(">q")
_OTHER_STAMP: Final = 0x1B7E_A55E_0DD5_71AF
_OTHER_BYTE: Final = b"\xa7"

Write = Callable[[GotKey, int], bytes]
"""The answer with that key, at that time (Unix seconds)."""

Answer = tuple[bytes, bytes, bytes, bytes]
"""The constant pieces before, between and after time, id and material."""


class GetForm:
    """A Get of one key, for any id, with its header and item.

    ``write`` writes an answer; answers of more than ``most`` bytes have no form.
    """

    def __init__(self, message: RequestMessage, write: Write, most: int) -> None:
        self.message = message
        self._write, self._most = write, most
        self._answers: dict[tuple[object, ...], Answer | None] = {}

    def answer(self, key: GotKey, stamp: int) -> bytes | None:
        """The answer from the form; None when ``write`` must be used."""
        material = key.material
        if material is None or key.wrapping_key is not None or key.attributes:
            return None
        name = key.unique_identifier.encode()
        kind = (key.algorithm, key.length, key.format, len(name), len(material))
        try:
            parts = self._answers[kind]
        except KeyError:
            parts = self._learn(kind, key, stamp)
        return None if parts is None else _join(parts, key, stamp)

    def _learn(self, kind: tuple[object, ...], key: GotKey, stamp: int) -> Answer | None:
        """The constant pieces of such an answer; None when they cannot be found."""
        if len(self._answers) >= MOST:
            self._answers.clear()
        parts = _parts(key, self._write)
        written = self._write(key, stamp)
        if len(written) > self._most or (parts and _join(parts, key, stamp) != written):
            parts = None
        self._answers[kind] = parts
        return parts


class Forms:
    """The forms of a server's clients."""

    def __init__(self) -> None:
        self._known: dict[bytes, GetForm] = {}

    def find(self, data: bytes) -> tuple[GetForm, str] | None:
        """The form of a message, and its id; None when none is known."""
        begin = data.find(_ID) + HEAD
        end = begin + int.from_bytes(data[begin - 4 : begin])
        form = self._known.get(data[:begin] + data[end:])
        if form is None or end > len(data):
            return None
        try:
            return form, data[begin:end].decode()
        except UnicodeDecodeError:
            return None

    def learn(self, data: bytes, form: GetForm) -> None:
        """Learn the form of a message that is a Get of one key, if messages of the form can repeat.
        An id that equals the probe's proves nothing: constant bytes could look like it."""
        message = form.message
        [item] = message.batch_item
        header, payload = message.request_header, item.request_payload
        passing = (header.authentication, header.time_stamp, header.client_correlation_value)
        if isinstance(payload, GetRequest) and passing == (None, None, None):
            name = payload.unique_identifier or ""
            begin = data.find(_ID) + HEAD
            end = begin + len(name.encode())
            other = _text(end - begin)
            if name == other or len(data) > LARGEST:
                return
            changed = msgspec.structs.replace(payload, unique_identifier=other)
            items = (msgspec.structs.replace(item, request_payload=changed),)
            same = encode_request(msgspec.structs.replace(message, batch_item=items))
            if same == data[:begin] + other.encode() + data[end:]:
                if len(self._known) >= MOST:
                    self._known.clear()
                self._known[data[:begin] + data[end:]] = form


def _join(parts: Answer, key: GotKey, stamp: int) -> bytes:
    first, second, third, last = parts
    material = b"" if key.material is None else key.material.reveal()
    name = key.unique_identifier.encode()
    return b"".join((first, _STAMP.pack(stamp), second, name, third, material, last))


def _parts(key: GotKey, write: Write) -> Answer | None:
    """The pieces of an answer with another key of the kind; None when one of them does not occur
    exactly once."""
    name = _text(len(key.unique_identifier.encode()))
    secret = _OTHER_BYTE * len(key.material or b"")
    other = msgspec.structs.replace(key, unique_identifier=name, material=KeyMaterial(secret))
    rest, parts = write(other, _OTHER_STAMP), list[bytes]()
    for piece in (_STAMP.pack(_OTHER_STAMP), name.encode(), secret):
        if rest.count(piece) != 1:
            return None
        before, _, rest = rest.partition(piece)
        parts.append(before)
    first, second, third = parts
    return first, second, third, rest


def _text(size: int) -> str:
    """A text that hardly occurs as an id."""
    return ("~!" * size)[:size]
