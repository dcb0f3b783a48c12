"""A disk of a disk group as bytes: ``CRC-32 || length || label || blocks``. Pure.

The label names the KEK that wraps the disk's data encryption key (DEK); blocks are under that DEK
by XTS-AES-256. Label and blocks are one file that is replaced as a whole. So a disk is at all times
in the old or the new state, and always names the key that opens it.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final

import msgspec

from protocol.crypto.disk import DEK_SIZE, DiskCipher
from protocol.crypto.wrap import NONCE_SIZE, unwrap, wrap
from protocol.guest import BLOCK_SIZE
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, NodeName
from protocol.vsan import ComponentKind, VsanPlacement
from services.runtime.ports import Rng

_CHECK: Final = 4  # bytes of the CRC-32
_LENGTH: Final = 4  # bytes of the label's length


class PlacedComponent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A component on the disk, in blocks ``first`` and the following; a witness has none.

    ``places``: of all components of the object. ``stamp``: the number of the last write that it
    has. ``promised``: the highest number that it has promised to a writer. ``stale``: its blocks
    have yet to be copied from another replica. ``blank``: it was created again after a loss, and
    has no vote before it knows the stamps of the others. ``moving``: a copy made before its
    original on this host is given up; while the original exists, the original counts. A component
    that is changed when it counts is not a copy any more.
    """

    object: str
    kind: ComponentKind
    first: int = 0
    blocks: int = 0
    places: tuple[VsanPlacement, ...] = ()
    stamp: int = 0
    promised: int = 0
    stale: bool = False
    blank: bool = False
    moving: bool = False


class Label(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The clear part of a disk. ``wrapped``: the DEK under ``kek``; empty without one."""

    group: str
    disk: str
    kek: CryptoKeyId | None = None
    dek_generation: int = 0
    wrapped: bytes = b""
    components: tuple[PlacedComponent, ...] = ()

    @property
    def encrypted(self) -> bool:
        """Whether opening the disk needs a key."""
        return self.kek is not None


_decoder = msgspec.msgpack.Decoder(Label)


@dataclass(frozen=True)
class DiskImage:
    """A disk as stored: ``blocks`` are encrypted."""

    label: Label
    blocks: bytes = b""

    @property
    def count(self) -> int:
        """How many blocks the disk has."""
        return len(self.blocks) // BLOCK_SIZE

    def pack(self) -> bytes:
        """The bytes of its file."""
        label = msgspec.msgpack.encode(self.label)
        body = len(label).to_bytes(_LENGTH, "big") + label + self.blocks
        return zlib.crc32(body).to_bytes(_CHECK, "big") + body


def unpack_disk(data: bytes) -> DiskImage | None:
    """The disk in the bytes of its file; None when they are damaged."""
    body = data[_CHECK:]
    if data[:_CHECK] != zlib.crc32(body).to_bytes(_CHECK, "big"):
        return None
    size = int.from_bytes(body[:_LENGTH], "big")
    try:
        label = _decoder.decode(body[_LENGTH : _LENGTH + size])
    except (msgspec.DecodeError, ValueError):
        return None
    return DiskImage(label, body[_LENGTH + size :])


def new_dek(rng: Rng) -> KeyMaterial:
    """A data encryption key for one disk."""
    return KeyMaterial(rng.token(DEK_SIZE))


def wrap_dek(
    label: Label, host: NodeName, dek: KeyMaterial, kek: CryptoKeyId, value: KeyMaterial, rng: Rng
) -> Label:
    """The label with its DEK wrapped under that KEK."""
    wrapped = wrap(value, dek, _aad(host, label), rng.token(NONCE_SIZE))
    return msgspec.structs.replace(label, kek=kek, wrapped=wrapped)


def unwrap_dek(label: Label, host: NodeName, value: KeyMaterial) -> KeyMaterial:
    """The DEK of a disk; ``CryptographicFailure`` when this KEK does not wrap it."""
    return unwrap(value, label.wrapped, _aad(host, label))


def _aad(host: NodeName, label: Label) -> bytes:
    return msgspec.msgpack.encode(("keystead vsan disk", host, label.group, label.disk))


def contents(image: DiskImage, placed: PlacedComponent, dek: KeyMaterial | None) -> list[bytes]:
    """The blocks of a component in clear."""
    cipher = None if dek is None else DiskCipher(dek)
    found = []
    for index in range(placed.first, placed.first + placed.blocks):
        stored = image.blocks[index * BLOCK_SIZE : (index + 1) * BLOCK_SIZE]
        found.append(stored if cipher is None else cipher.decrypt(index, stored))
    return found


def reencrypt_disk(image: DiskImage, old: KeyMaterial | None, new: KeyMaterial | None) -> DiskImage:
    """The components under another DEK, one after another; None stands for blocks in clear.

    Blocks that belong to no component any more are dropped.
    """
    cipher = None if new is None else DiskCipher(new)
    made: list[bytes] = []
    components = []
    for placed in image.label.components:
        components.append(msgspec.structs.replace(placed, first=len(made)))
        for block in contents(image, placed, old):
            made.append(block if cipher is None else cipher.encrypt(len(made), block))
    label = msgspec.structs.replace(image.label, components=tuple(components))
    return DiskImage(label, b"".join(made))


def with_contents(
    image: DiskImage,
    placed: PlacedComponent,
    plain: list[bytes],
    dek: KeyMaterial | None,
    stamp: int,
) -> DiskImage:
    """The disk with the blocks of that write in place of a component's, which is complete then."""
    cipher = None if dek is None else DiskCipher(dek)
    blocks = bytearray(image.blocks)
    for number, block in enumerate(plain):
        index = placed.first + number
        stored = block if cipher is None else cipher.encrypt(index, block)
        blocks[index * BLOCK_SIZE : (index + 1) * BLOCK_SIZE] = stored
    made = DiskImage(image.label, bytes(blocks))
    return mark_component(made, placed.object, stale=False, blank=False, stamp=stamp)


def mark_component(image: DiskImage, name: str, **marks: object) -> DiskImage:
    """The disk with these fields of its component of an object changed; no block changes."""
    components = tuple(
        msgspec.structs.replace(c, **marks) if c.object == name else c
        for c in image.label.components
    )
    label = msgspec.structs.replace(image.label, components=components)
    return DiskImage(label, image.blocks)


def with_component(
    image: DiskImage, component: PlacedComponent, plain: list[bytes], dek: KeyMaterial | None
) -> DiskImage:
    """The disk with a further component, after the present ones."""
    placed = msgspec.structs.replace(component, first=image.count, blocks=len(plain))
    label = msgspec.structs.replace(image.label, components=(*image.label.components, placed))
    grown = DiskImage(label, image.blocks + bytes(BLOCK_SIZE * len(plain)))
    made = with_contents(grown, placed, plain, dek, placed.stamp)
    return mark_component(made, placed.object, stale=placed.stale, blank=placed.blank)
