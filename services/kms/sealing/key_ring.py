"""The key ring of a key server: its KEKs by version, and the key of its tags. Pure.

The ring is one row of the database, a box that the *root* seals (``roots``): AES-256-GCM under a
key derived from the root's, bound to the header beside it in clear. Another root means a new box
and nothing else. Without the root nobody can remove a KEK, restore one, or make it current.

A KEK is 32 random bytes with a number; keys are wrapped under the highest one. Older ones stay
while a key is wrapped under them (``custody.rotation``). The key of the tags is drawn once in the
life of a database: neither another root nor another KEK changes a tag.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from protocol.crypto.derive import derive_key
from protocol.crypto.wrap import KEK_SIZE, unwrap, wrap
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
