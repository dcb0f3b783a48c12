"""Sealing key material to the node that shall have it (HPKE, RFC 9180 base mode).

Suite: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM. The keys of a message travel in boxes
beside its body. The ``info`` of a box (RFC 9180 section 5.1) binds it to its receiver, its field,
and to every other byte of its envelope: sender, boot, message id, deadline, name, and the body with
all its clear fields. A box taken into another message does not open, and neither does one whose
key ids, session or flags were changed beside it. Who the sender is, is the broker's identity
check; HPKE base mode adds no signature.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from protocol.envelope import Envelope, ReplyEnvelope
from protocol.errors import Malformed
from protocol.messages.base import Message, Sealed, sealed_fields
from protocol.secret import KeyMaterial
from protocol.terms import NodeName

_SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
_LIST = msgspec.msgpack.Decoder(tuple[bytes, ...])
_encode = msgspec.msgpack.Encoder().encode

M = TypeVar("M", bound=Message)
E = TypeVar("E", Envelope, ReplyEnvelope)


@dataclass(frozen=True)
class Keyring:
    """A node's own X25519 key, and the public key of every node that it may seal to.

    ``recipients`` is a live view: it grows as nodes join the lab.
    """

    private: X25519PrivateKey
    recipients: Mapping[NodeName, X25519PublicKey]


def without_keys(message: M) -> M:
    """``message`` as its body is encoded: each key field holds the number of its box.

    The same object when no field of it carries keys.
    """
    fields = _filled(message)
    if not fields:
        return message
    boxed = {field: Sealed.boxed(number) for number, field in enumerate(fields)}
    return msgspec.structs.replace(message, **boxed)


def seal(envelope: E, message: Message, ring: Keyring, to: NodeName) -> E:
    """``envelope`` (made of ``without_keys(message)``) with the keys of ``message`` in its boxes.

    ``KeyError`` when ``to`` has no known key.
    """
    fields = _filled(message)
    if not fields:
        return envelope
    around = _digest(envelope)
    boxes = []
    for field in fields:
        clear = _encode(tuple(key.reveal() for key in getattr(message, field).keys))
        boxes.append(_SUITE.encrypt(clear, ring.recipients[to], _info(to, field, around)))
    return msgspec.structs.replace(envelope, boxes=tuple(boxes))


def unseal(envelope: Envelope | ReplyEnvelope, message: M, ring: Keyring, me: NodeName) -> M:
    """``message`` (decoded from the body of ``envelope``) with its keys put back.

    ``Malformed`` when a box was sealed to another node, belongs to another envelope, was altered,
    is missing or is one too many.
    """
    fields = _filled(message)
    expected = list(range(len(fields)))
    if [getattr(message, field).box for field in fields] != expected or len(fields) != len(
        envelope.boxes
    ):
        raise Malformed(f"{type(message).__name__}: boxes and sealed fields do not match")
    if not fields:
        return message
    around = _digest(envelope)
    opened: dict[str, Sealed] = {}
    for field, box in zip(fields, envelope.boxes, strict=True):
        try:
            clear = _SUITE.decrypt(box, ring.private, _info(me, field, around))
            keys = tuple(KeyMaterial(raw) for raw in _LIST.decode(clear))
        except (InvalidTag, ValueError, msgspec.DecodeError):
            raise Malformed(f"{type(message).__name__}.{field} does not open") from None
        opened[field] = Sealed.of(*keys)
    return msgspec.structs.replace(message, **opened)


def _filled(message: Message) -> tuple[str, ...]:
    return tuple(
        field for field in sealed_fields(type(message)) if getattr(message, field) is not None
    )


def _digest(envelope: Envelope | ReplyEnvelope) -> bytes:
    """Of everything in the envelope but the boxes."""
    return hashlib.sha256(_encode(msgspec.structs.replace(envelope, boxes=()))).digest()


def _info(receiver: NodeName, field: str, around: bytes) -> bytes:
    return _encode(("keystead sealed field", receiver, field, around))
