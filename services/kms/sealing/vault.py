"""The key ring of a key server (its KEKs by version, and the key of its tags), and the vault that
wraps key material and tags rows and trail with it, in one life of a server.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Callable
from typing import Any, Final

import msgspec

from protocol.crypto.derive import derive_key
from protocol.crypto.wrap import KEK_SIZE, NONCE_SIZE, Wrapping, unwrap, wrap
from protocol.errors import CryptographicFailure
from protocol.secret import KeyMaterial
from protocol.terms import RootKind

KEKS_LIMIT: Final = 8
"""KEKs in one ring: further rotations wait until the keys of the oldest have left it."""


class Kek(msgspec.Struct, frozen=True, array_like=True):
    """A key-encrypting key: its number, from 1, and when it was made, in Unix seconds."""

    number: int
    made_at: float
    key: KeyMaterial


class KeyRing(msgspec.Struct, frozen=True, array_like=True):
    """``keks`` are in order of their numbers; the last is the current one."""

    tagging: KeyMaterial
    keks: tuple[Kek, ...]

    @property
    def current(self) -> Kek:
        """The KEK under which keys are wrapped now."""
        return self.keks[-1]

    def with_another(self, at: float, key: KeyMaterial) -> KeyRing:
        """The ring with ``key`` as its current KEK."""
        kek = Kek(self.current.number + 1, at, key)
        return msgspec.structs.replace(self, keks=(*self.keks, kek))

    def only_current(self) -> KeyRing:
        """The ring with only the current KEK."""
        return msgspec.structs.replace(self, keks=(self.current,))


class Header(msgspec.Struct, frozen=True, array_like=True):
    """The clear header of the box: how its root is opened.

    ``params`` are the root's own (``roots``). ``since``: when it became the root, in Unix seconds.
    """

    kind: RootKind
    params: bytes
    since: float


def new_ring(at: float, tagging: bytes, kek: bytes) -> KeyRing:
    """The ring of a new database, from two times 32 random bytes."""
    return KeyRing(KeyMaterial(tagging), (Kek(1, at, KeyMaterial(kek)),))


def seal(ring: KeyRing, root: KeyMaterial, header: bytes, nonce: bytes) -> bytes:
    """The box of a ring; ``nonce`` is 12 bytes never used with this root."""
    return wrap(_sealing(root), KeyMaterial(_encoder.encode(ring)), header, nonce)


def unseal(box: bytes, root: KeyMaterial, header: bytes) -> KeyRing:
    """The ring; ``CryptographicFailure`` for another root or header, or an altered box."""
    clear = unwrap(_sealing(root), box, header)
    try:
        ring = _ring.decode(clear.reveal())
    except (msgspec.DecodeError, ValueError):
        raise CryptographicFailure("the key ring is not as this version writes it") from None
    numbers = [kek.number for kek in ring.keks]
    if not numbers or numbers != sorted(set(numbers)):
        raise CryptographicFailure("the key ring has no order")
    return ring


def pack_header(header: Header) -> bytes:
    """The header as stored in the database, to which the box is bound."""
    return _encoder.encode(header)


def unpack_header(data: bytes) -> Header:
    """The header; ``CryptographicFailure`` for other bytes."""
    try:
        return _header.decode(data)
    except (msgspec.DecodeError, ValueError):
        raise CryptographicFailure("the header of the key ring was altered") from None


def _sealing(root: KeyMaterial) -> KeyMaterial:
    return derive_key(root, salt=b"", info=b"keystead kms 2: seal the key ring")


def _to_clear(value: Any) -> Any:
    if isinstance(value, KeyMaterial):
        return value.reveal()  # into the buffer that is encrypted next, and nowhere else
    raise TypeError(f"{type(value).__name__} has no place in a key ring")


def _from_clear(kind: type, value: Any) -> Any:
    if kind is KeyMaterial and isinstance(value, bytes) and len(value) == KEK_SIZE:
        return KeyMaterial(value)
    raise ValueError(f"{kind.__name__} has no place in a key ring")


_encoder = msgspec.msgpack.Encoder(enc_hook=_to_clear)
_ring = msgspec.msgpack.Decoder(KeyRing, dec_hook=_from_clear)
_header = msgspec.msgpack.Decoder(Header)


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
