"""Structs to msgpack and back, with full validation, and the envelope that surrounds a message on
the data bus; nothing else crosses the wire.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from protocol.errors import ErrorBody, Malformed
from protocol.messages.base import Message, Sealed
from protocol.secret import KeyMaterial
from protocol.terms import NodeName

VERSION = 2
SIZE_LIMIT = 256 * 1024  # bytes; the broker's max_payload is the same


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    """A request or event. ``deadline`` in lab seconds (monotonic, never skewed); 0 = none.

    ``message_id`` is unique within (sender, boot). ``cause`` is the id of the message that led to
    this one, as ``node/boot/id``: the command line follows such chains. ``boxes`` hold the key
    material of the body's sealed fields and are bound to all other fields here, the body included
    (``protocol.crypto.seal``).
    """

    version: int
    message_id: int
    cause: str
    sender: NodeName
    boot: int
    deadline: float
    name: str
    body: msgspec.Raw
    boxes: tuple[bytes, ...] = ()


class ReplyEnvelope(msgspec.Struct, frozen=True, array_like=True):
    """A reply: either ``body`` with ``name``, or ``error``. ``boot`` is the responder's.

    ``boxes`` are as in a request.
    """

    version: int
    message_id: int  # of the request
    sender: NodeName
    boot: int
    name: str
    body: msgspec.Raw
    error: ErrorBody | None = None
    boxes: tuple[bytes, ...] = ()


M = TypeVar("M", bound=Message)
E = TypeVar("E", Envelope, ReplyEnvelope)


def _encode_hook(value: Any) -> Any:
    if isinstance(value, Sealed):
        if value.box is None:
            raise TypeError("a field with clear keys was about to be encoded")
        return value.box
    if isinstance(value, KeyMaterial):
        raise TypeError("key material is not encoded")
    raise TypeError(f"{type(value).__name__} cannot be encoded")


def _decode_hook(kind: type, value: Any) -> Any:
    if kind is Sealed:
        if type(value) is not int or value < 0:
            raise ValueError("a sealed field is the number of a box")
        return Sealed.in_box(value)
    raise ValueError(f"{kind.__name__} cannot be encoded")


_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_hook)
_envelope = msgspec.msgpack.Decoder(Envelope)
_reply = msgspec.msgpack.Decoder(ReplyEnvelope)
_decoders: dict[type[Message], msgspec.msgpack.Decoder[Any]] = {}

_UNSENDABLE = (UnicodeEncodeError, OverflowError, RecursionError)
_WRONG = (msgspec.DecodeError, ValueError, TypeError, RecursionError, OverflowError)


def encode_message(message: Message) -> msgspec.Raw:
    """The body of ``message`` in msgpack.

    ``Malformed`` for text that is not Unicode and numbers beyond 64 bits. ``TypeError``, a defect
    of the sender, if it holds clear keys.
    """
    try:
        return msgspec.Raw(_encoder.encode(message))
    except _UNSENDABLE as error:
        raise Malformed(f"{type(message).__name__}: {error}") from None


def size_on_wire(value: object) -> int:
    """The encoded size of ``value`` (an id, a struct, any part of a message) in bytes.

    ``TypeError`` if it holds clear keys or cannot be encoded.
    """
    return len(_encoder.encode(value))


def decode_message(name: str, body: bytes | msgspec.Raw) -> Message:
    """The message ``name`` with this body; ``Malformed`` if unknown or invalid."""
    cls = Message._registry.get(name)
    if cls is None:
        raise Malformed(f"unknown message {name[:64]!r}")
    return decode_as(cls, body)


def decode_as(cls: type[M], body: bytes | msgspec.Raw) -> M:
    """``body`` as a ``cls``; ``Malformed`` if it is not one."""
    try:
        message: M = decoder_of(cls).decode(body)
    except _WRONG as error:
        raise Malformed(f"{cls.__name__}: {error}") from None
    return message


def decoder_of(cls: type[M]) -> msgspec.msgpack.Decoder[M]:
    """The decoder of a message class, created at its first use."""
    decoder = _decoders.get(cls)
    if decoder is None:
        decoder = _decoders[cls] = msgspec.msgpack.Decoder(cls, dec_hook=_decode_hook)
    return decoder


def encode_envelope(envelope: Envelope | ReplyEnvelope, limit: int = SIZE_LIMIT) -> bytes:
    """The envelope as bytes; ``Malformed`` when it cannot be encoded or is longer than ``limit``.

    The limit is the broker's. The default is that of the data bus; the control broker takes more.
    """
    try:
        data = _encoder.encode(envelope)
    except _UNSENDABLE as error:
        raise Malformed(f"it cannot be encoded: {error}") from None
    if len(data) > limit:
        raise Malformed(f"message of {len(data)} bytes is over the limit of {limit}")
    return data


def decode_envelope(data: bytes) -> Envelope:
    """The envelope in ``data``; ``Malformed`` for other bytes or another version."""
    return _decode_version("envelope", _envelope, data)


def decode_reply(data: bytes) -> ReplyEnvelope:
    """The reply envelope in ``data``; ``Malformed`` for other bytes or another version."""
    return _decode_version("reply", _reply, data)


def _decode_version(what: str, decoder: msgspec.msgpack.Decoder[E], data: bytes) -> E:
    try:
        found = decoder.decode(data)
    except _WRONG as error:
        raise Malformed(f"{what}: {error}") from None
    if found.version != VERSION:
        raise Malformed(f"{what} version {found.version}, not {VERSION}")
    return found
