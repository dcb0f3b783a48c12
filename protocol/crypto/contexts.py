"""Keys that one life of a node uses for boxes to another node; HPKE carries each key once.

A *context* is an AES-256-GCM-SIV key (RFC 8452) that one life of a sender has drawn for its boxes
to one receiver. Its *capsule* is that key under HPKE (RFC 9180 base mode; DHKEM(X25519,
HKDF-SHA256), HKDF-SHA256, AES-256-GCM) to the receiver's key. The ``info`` of the capsule (RFC 9180
section 5.1) names the sender, the sender's boot, the receiver, and in a reply the receiver's boot.
A request goes to whichever life the receiver is in: its boot is 0.

A box is ``capsule (80 bytes) || nonce (12) || ciphertext and tag (16 more than the clear)``. Each
box opens alone, in any order, even when earlier boxes were lost. A receiver remembers opened
capsules only to save time; if it forgets one, it opens the capsule again. Nonces are random bytes
of the operating system, not a counter that a crash, a fork or a snapshot could set back. Decision
31 has the argument.
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
