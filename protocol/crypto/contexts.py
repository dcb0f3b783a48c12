"""Keys from one life of a node to another node: HPKE carries each once, for many boxes.

A *context* is an AES-256-GCM-SIV key (RFC 8452) that one life of a sender has drawn for its boxes
to one receiver. Its *capsule* is that key under HPKE (RFC 9180 base mode; DHKEM(X25519,
HKDF-SHA256), HKDF-SHA256, AES-256-GCM) to the receiver's key. The ``info`` of the capsule (RFC 9180
section 5.1) names sender, the sender's boot, receiver, and the receiver's boot where the sender
knows it: in a reply. Requests go to whichever life the receiver is in, 0 stands for that.

A box is ``capsule (80 bytes) || nonce (12) || ciphertext and tag (16 more than the clear)``, so
each opens alone, in any order, whatever was lost before it. That a capsule was opened already
saves time and decides nothing; a receiver that forgets opens it again. Nonces are the operating
system's random bytes, no counter: nothing that a crash, a fork or a snapshot could set back.
Decision 31 has the argument.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from protocol.terms import NodeName

BOXES: Final = 2**16
"""Most boxes of one context."""

AGE_S: Final = 3600.0
"""Lab seconds after which a context seals nothing more."""

PEERS: Final = 4096
"""Peers of whom contexts are remembered, in each direction; the one met first is forgotten."""

OF_ONE_SENDER: Final = 4
"""Contexts of one sender that are remembered: of its requests and its replies, and the ones that
it used before."""

ANY_LIFE: Final = 0
"""In place of the receiver's boot: whichever life it is in. Boots count from 1."""

CAPSULE_SIZE: Final = 32 + 32 + 16
NONCE_SIZE: Final = 12
TAG_SIZE: Final = 16
OVERHEAD: Final = CAPSULE_SIZE + NONCE_SIZE + TAG_SIZE
"""A box is that much longer than its clear form, the first of a context as well as the last."""

_SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
_encode = msgspec.msgpack.Encoder().encode


def _info(sender: NodeName, boot: int, receiver: NodeName, life: int) -> bytes:
    return _encode(("keystead sealing context", sender, boot, receiver, life))


@dataclass(slots=True)
class _Context:
    life: int  # of the receiver
    capsule: bytes
    cipher: AESGCMSIV
    until: float
    left: int = BOXES


class Sending:
    """The contexts with which one life of ``me`` seals. ``monotonic`` tells lab seconds."""

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
        """``clear`` for that life of ``to`` (or ``ANY_LIFE``), bound to ``bound_to``.

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
    """The contexts of others that one life of ``me`` has opened: a memory, bounded per sender.

    A sender is who the broker says it is, so a peer that makes context after context pays for
    each as it would for a box of its own, and pushes out nobody's but its own.
    """

    def __init__(self, me: NodeName, private: X25519PrivateKey) -> None:
        self._me, self._private = me, private
        self._senders: OrderedDict[NodeName, _Known] = OrderedDict()

    def clear(self, sender: NodeName, boot: int, life: int, box: bytes, bound_to: bytes) -> bytes:
        """What that life of ``sender`` has put into ``box`` for this ``life`` (or ``ANY_LIFE``).

        ``InvalidTag`` for any other box, and for one that was altered or is bound to other than
        ``bound_to``.
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
        """Only of a box that opened: what is made up is not kept."""
        known = self._senders.setdefault(sender, OrderedDict())
        known[place] = cipher
        if len(known) > OF_ONE_SENDER:
            known.popitem(last=False)
        if len(self._senders) > PEERS:
            self._senders.popitem(last=False)
