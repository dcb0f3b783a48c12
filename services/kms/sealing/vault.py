"""Wraps key material and tags rows and trail with the key ring, in one life of a server.

A wrapped key begins with the number of its KEK and is bound to it, so a row names the KEK that
opens it. A retired KEK stays in memory for the rest of the life: an earlier query may need it, as
may a key that was made before and is rewrapped. It opens nothing on the disk.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Callable
from typing import Final

from protocol.crypto.wrap import NONCE_SIZE, Wrapping
from protocol.errors import CryptographicFailure
from protocol.secret import KeyMaterial
from services.kms.sealing.key_ring import KeyRing

NUMBER_SIZE: Final = 4
"""Bytes of a KEK's number, big-endian, before the wrapped key."""

_NUMBER: Final = struct.Struct(">I")
_BLOCK: Final = 64  # bytes of a block of SHA-256


class Vault:
    """``install`` is called on the loop; the other methods also in the writer of a transaction."""

    def __init__(self, ring: KeyRing) -> None:
        self._wrappings: dict[int, Wrapping] = {}
        # HMAC-SHA256 (RFC 2104); its two keyed states are computed once, which halves the cost of a
        # call.
        key = ring.tagging.reveal().ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in key))
        self._taggers: dict[bytes, Callable[[bytes], bytes]] = {}
        # By kind: the last tagged row, and its tag.
        self._latest: dict[bytes, tuple[bytes, bytes]] = {}
        self.install(ring)

    def install(self, ring: KeyRing) -> None:
        """Use this ring, which is durable."""
        for kek in ring.keks:
            if kek.number not in self._wrappings:
                self._wrappings[kek.number] = Wrapping(kek.key)
        number = ring.current.number
        self._current = _NUMBER.pack(number), self._wrappings[number]
        self.ring = ring

    def close(self, material: KeyMaterial, aad: bytes, nonce: bytes) -> bytes:
        """``material`` under the current KEK and ``nonce`` (12 bytes, never used with it before),
        bound to ``aad``."""
        head, wrapping = self._current
        return head + wrapping.wrap(material, head + aad, nonce)

    def open(self, wrapped: bytes, aad: bytes) -> KeyMaterial:
        """The material; ``CryptographicFailure`` if it was wrapped elsewhere, for another key, or
        altered."""
        number = kek_of(wrapped)
        wrapping = self._wrappings.get(number)
        if wrapping is None:
            raise CryptographicFailure(f"it is wrapped under KEK {number}, which is not there")
        return wrapping.unwrap(wrapped[NUMBER_SIZE:], wrapped[:NUMBER_SIZE] + aad)

    def rewrap(self, wrapped: bytes, aad: bytes) -> bytes:
        """The same key under the current KEK, if it is under another one.

        It keeps its nonce, which was random: no other KEK has used it.
        """
        if kek_of(wrapped) == self.ring.current.number:
            return wrapped
        nonce = wrapped[NUMBER_SIZE : NUMBER_SIZE + NONCE_SIZE]
        return self.close(self.open(wrapped, aad), aad, nonce)

    def tag(self, kind: bytes, row: bytes) -> bytes:
        """HMAC-SHA256 over a canonical row; ``kind`` keeps tables apart."""
        if kind not in self._taggers:
            self._taggers[kind] = self.tagger(kind)
        tag = self._taggers[kind](row)
        self._latest[kind] = row, tag
        return tag

    def tagger(self, kind: bytes) -> Callable[[bytes], bytes]:
        """``tag`` for one kind, prepared for many rows."""
        begun, outer = self._inner.copy(), self._outer
        begun.update(kind + b"|")

        def tag(row: bytes) -> bytes:
            inner, whole = begun.copy(), outer.copy()
            inner.update(row)
            whole.update(inner.digest())
            return whole.digest()

        return tag

    def verifier(self, kind: bytes) -> Callable[[bytes, object], bool]:
        """Verifies tags of one kind, prepared for many rows."""
        tagged = self.tagger(kind)
        return lambda row, tag: tagged(row) == tag

    def verify(self, kind: bytes, row: bytes, tag: object, what: str) -> None:
        """``CryptographicFailure`` naming ``what`` unless ``tag`` is that of ``row``."""
        # The head of the trail is verified at each operation.
        if self._latest.get(kind) == (row, tag):
            return
        if not isinstance(tag, bytes) or not hmac.compare_digest(self.tag(kind, row), tag):
            raise CryptographicFailure(f"{what} was altered")


def kek_of(wrapped: bytes) -> int:
    """The number of the KEK that wraps it; ``CryptographicFailure`` if it is truncated."""
    if len(wrapped) < NUMBER_SIZE:
        raise CryptographicFailure(f"a wrapped key of {len(wrapped)} bytes is cut short")
    return int(_NUMBER.unpack_from(wrapped)[0])


def kek_bytes(number: int) -> bytes:
    """The number as stored before a wrapped key."""
    return _NUMBER.pack(number)
