"""Sealing key material to the node that receives it, bound to one message.

The keys of a message travel in boxes beside its body. A box is bound to its receiver, to its field,
and to every other byte of its envelope: sender, boot, message id, deadline, name, and the body with
all its clear fields. A box that is moved into another message does not open, and neither does one
beside which key ids, session or flags were changed. The broker authenticates the sender; HPKE base
mode, which carries the key of a box (``contexts``), adds no signature.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from protocol.crypto.contexts import ANY_LIFE, Receiving, Sending
from protocol.envelope import Envelope, ReplyEnvelope
from protocol.errors import Malformed
from protocol.messages.base import Message, Sealed, fields_with_keys
from protocol.secret import KeyMaterial
from protocol.terms import NodeName

_LIST = msgspec.msgpack.Decoder(tuple[bytes, ...])
_encode = msgspec.msgpack.Encoder().encode

M = TypeVar("M", bound=Message)
E = TypeVar("E", Envelope, ReplyEnvelope)


@dataclass(frozen=True)
class Keyring:
    """A node's own X25519 key, and the public key of each node that it may seal to.

    ``recipients`` is a live view: it grows as nodes join the lab.
    """

    private: X25519PrivateKey
    recipients: Mapping[NodeName, X25519PublicKey]


def without_keys(message: M) -> M:
    """``message`` with the number of its box in each key field: the form that is encoded.

    The same object when no field of it carries keys.
    """
    fields = _fields_with_keys(message)
    if not fields:
        return message
    boxed = {field: Sealed.in_box(number) for number, field in enumerate(fields)}
    return msgspec.structs.replace(message, **boxed)


class Sealing:
    """Seals and opens for one life of a node: boot ``boot`` of ``me``.

    ``monotonic`` returns lab seconds. Nothing here outlives the life.
    """

    def __init__(
        self, me: NodeName, boot: int, ring: Keyring, monotonic: Callable[[], float]
    ) -> None:
        self._me, self._boot = me, boot
        self._sending = Sending(me, boot, ring.recipients, monotonic)
        self._receiving = Receiving(me, ring.private)

    def seal_keys(self, envelope: E, message: Message, to: NodeName, life: int = ANY_LIFE) -> E:
        """``envelope`` (built from ``without_keys(message)``) with the keys of ``message`` in
        boxes.

        ``life`` is the boot of ``to`` that a reply is for; no other boot can open it. ``KeyError``
        when ``to`` has no known key.
        """
        fields = _fields_with_keys(message)
        if not fields:
            return envelope
        around = _digest(envelope)
        boxes = []
        for field in fields:
            clear = _encode(tuple([key.reveal() for key in getattr(message, field).keys]))
            boxes.append(self._sending.box(to, life, clear, _aad(to, field, around)))
        return msgspec.structs.replace(envelope, boxes=tuple(boxes))

    def unseal_keys(self, envelope: Envelope | ReplyEnvelope, message: M) -> M:
        """``message`` (decoded from the body of ``envelope``) with its keys put back.

        ``Malformed`` when a box is missing or superfluous, was altered, belongs to another
        envelope, or was sealed to another node or, in a reply, to another life of this node.
        """
        fields = _fields_with_keys(message)
        if not fields and not envelope.boxes:
            return message
        numbers = [getattr(message, field).box for field in fields]
        if numbers != list(range(len(fields))) or len(fields) != len(envelope.boxes):
            raise Malformed(f"{type(message).__name__}: boxes and sealed fields do not match")
        around = _digest(envelope)
        life = ANY_LIFE if isinstance(envelope, Envelope) else self._boot
        opened: dict[str, Sealed] = {}
        for field, box in zip(fields, envelope.boxes, strict=True):
            bound_to = _aad(self._me, field, around)
            try:
                clear = self._receiving.clear(envelope.sender, envelope.boot, life, box, bound_to)
                keys = tuple([KeyMaterial(raw) for raw in _LIST.decode(clear)])
            except (InvalidTag, ValueError, msgspec.DecodeError):
                raise Malformed(f"{type(message).__name__}.{field} does not open") from None
            opened[field] = Sealed.of(*keys)
        return msgspec.structs.replace(message, **opened)


def _fields_with_keys(message: Message) -> tuple[str, ...]:
    fields = fields_with_keys(type(message))
    return fields and tuple([field for field in fields if getattr(message, field) is not None])


def _digest(envelope: Envelope | ReplyEnvelope) -> bytes:
    """The digest of everything in the envelope except the boxes."""
    bare = msgspec.structs.replace(envelope, boxes=()) if envelope.boxes else envelope
    return hashlib.sha256(_encode(bare)).digest()


def _aad(receiver: NodeName, field: str, around: bytes) -> bytes:
    return _encode(("keystead sealed field", receiver, field, around))
