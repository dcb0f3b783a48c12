"""Sealing key material to the node that receives it, bound to one message.

HPKE carries each key of one life of a node once; boxes to another node use it.
"""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from protocol.codec import Envelope, ReplyEnvelope
from protocol.errors import Malformed
from protocol.messages.base import Message, Sealed, fields_with_keys
from protocol.secret import KeyMaterial
from protocol.terms import NodeName

BOXES: Final = 2**16
"""Boxes that one context seals, at most."""

AGE_S: Final = 3600.0
"""Lab seconds after which a context seals no more boxes."""

PEERS: Final = 4096
"""Peers whose contexts are remembered, in each direction; the oldest peer is forgotten first."""

OF_ONE_SENDER: Final = 4
"""Contexts remembered of one sender: those of its requests and replies, and earlier ones."""

ANY_LIFE: Final = 0
"""Stands for the receiver's boot when the sender does not know it. Boots count from 1."""

CAPSULE_SIZE: Final = 32 + 32 + 16
NONCE_SIZE: Final = 12
TAG_SIZE: Final = 16
OVERHEAD: Final = CAPSULE_SIZE + NONCE_SIZE + TAG_SIZE
"""Bytes by which a box is longer than its clear content, with every box of a context."""

_SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
_encode_context = msgspec.msgpack.Encoder().encode


def _info(sender: NodeName, boot: int, receiver: NodeName, life: int) -> bytes:
    return _encode_context(("keystead sealing context", sender, boot, receiver, life))


@dataclass(slots=True)
class _Context:
    life: int  # of the receiver
    capsule: bytes
    cipher: AESGCMSIV
    until: float
    left: int = BOXES


class Sending:
    """The contexts with which one life of ``me`` seals. ``monotonic`` returns lab seconds."""

    def __init__(
        self,
        me: NodeName,
        boot: int,
        recipients: Mapping[NodeName, X25519PublicKey],
        monotonic: Callable[[], float],
    ) -> None:
        self._me, self._boot = me, boot
        self._recipients, self._monotonic = recipients, monotonic
        self._contexts: OrderedDict[tuple[NodeName, bool], _Context] = OrderedDict()

    def box(self, to: NodeName, life: int, clear: bytes, bound_to: bytes) -> bytes:
        """``clear`` sealed for that life of ``to`` (or ``ANY_LIFE``), bound to ``bound_to``.

        ``KeyError`` when ``to`` has no known key.
        """
        place = (to, life == ANY_LIFE)
        context = self._contexts.get(place)
        if (
            context is None
            or context.life != life
            or not context.left
            or context.until <= self._monotonic()
        ):
            context = self._anew(place, life)
        context.left -= 1
        nonce = os.urandom(NONCE_SIZE)  # noqa: TID251 - as the library draws its keys
        return context.capsule + nonce + context.cipher.encrypt(nonce, clear, bound_to)

    def _anew(self, place: tuple[NodeName, bool], life: int) -> _Context:
        """One context for requests and one for replies to a peer: its newest life's."""
        to, _ = place
        key = AESGCMSIV.generate_key(256)
        info = _info(self._me, self._boot, to, life)
        capsule = _SUITE.encrypt(key, self._recipients[to], info)
        made = _Context(life, capsule, AESGCMSIV(key), self._monotonic() + AGE_S)
        self._contexts.pop(place, None)
        self._contexts[place] = made
        if len(self._contexts) > 2 * PEERS:
            self._contexts.popitem(last=False)
        return made


_Known = OrderedDict[tuple[bytes, int, int], AESGCMSIV]


class Receiving:
    """The contexts of other nodes that one life of ``me`` has opened: a cache with a bound per
    sender.

    The broker authenticates senders. A peer that creates context after context pays for each as for
    a box, and displaces only contexts of its own.
    """

    def __init__(self, me: NodeName, private: X25519PrivateKey) -> None:
        self._me, self._private = me, private
        self._senders: OrderedDict[NodeName, _Known] = OrderedDict()

    def clear(self, sender: NodeName, boot: int, life: int, box: bytes, bound_to: bytes) -> bytes:
        """The content of ``box`` from that life of ``sender``, for this ``life`` (or ``ANY_LIFE``).

        ``InvalidTag`` for any other box, and for one that was altered or is bound to something
        other than ``bound_to``.
        """
        if len(box) < OVERHEAD:
            raise InvalidTag
        capsule, nonce = box[:CAPSULE_SIZE], box[CAPSULE_SIZE : CAPSULE_SIZE + NONCE_SIZE]
        place = (capsule, boot, life)
        known = self._senders.get(sender)
        cipher = None if known is None else known.get(place)
        if cipher is not None:
            return cipher.decrypt(nonce, box[CAPSULE_SIZE + NONCE_SIZE :], bound_to)
        info = _info(sender, boot, self._me, life)
        cipher = AESGCMSIV(_SUITE.decrypt(capsule, self._private, info))
        clear = cipher.decrypt(nonce, box[CAPSULE_SIZE + NONCE_SIZE :], bound_to)
        self._remember(sender, place, cipher)
        return clear

    def _remember(self, sender: NodeName, place: tuple[bytes, int, int], cipher: AESGCMSIV) -> None:
        """Remember the context of a box that opened; forged ones are never kept."""
        known = self._senders.setdefault(sender, OrderedDict())
        known[place] = cipher
        if len(known) > OF_ONE_SENDER:
            known.popitem(last=False)
        if len(self._senders) > PEERS:
            self._senders.popitem(last=False)


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
