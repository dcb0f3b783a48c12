"""A disk of vSAN as bytes: what opens it, and what a damaged one is."""

from __future__ import annotations

import msgspec
import pytest

from protocol.crypto.disk import DEK_SIZE
from protocol.errors import CryptographicFailure
from protocol.guest import guest_block, guest_seed
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, KeyId, NodeName, ProviderId
from protocol.vsan import ComponentKind, VsanEncryption
from services.esxi.vsan.disk_groups import (
    DiskImage,
    Label,
    PlacedComponent,
    contents,
    reencrypt_disk,
    unpack_disk,
    unwrap_dek,
    with_component,
    wrap_dek,
)
from services.esxi.vsan.encryption import DiskStep, step_of

HOST = NodeName("esxi-001")
KEK, OTHER = KeyMaterial(b"k" * 32), KeyMaterial(b"o" * 32)
KEY = CryptoKeyId(KeyId("kek"), ProviderId("p"))
DEK, NEXT = KeyMaterial(bytes(range(DEK_SIZE))), KeyMaterial(bytes(range(1, DEK_SIZE + 1)))


def replica(name: str) -> PlacedComponent:
    return PlacedComponent(object=name, kind=ComponentKind.REPLICA)


def witness(name: str) -> PlacedComponent:
    return PlacedComponent(object=name, kind=ComponentKind.WITNESS)


class Bytes:
    def token(self, size: int) -> bytes:
        return b"n" * size

    def stream(self, name: str) -> object:
        raise NotImplementedError


def label() -> Label:
    bare = Label(group="group-1", disk="disk-1")
    return wrap_dek(bare, HOST, DEK, KEY, KEK, Bytes())  # type: ignore[arg-type]


def test_only_its_own_kek_opens_a_disk() -> None:
    made = label()
    assert unwrap_dek(made, HOST, KEK) == DEK
    with pytest.raises(CryptographicFailure):
        unwrap_dek(made, HOST, OTHER)
    with pytest.raises(CryptographicFailure):
        unwrap_dek(made, NodeName("esxi-002"), KEK)
    with pytest.raises(CryptographicFailure):
        unwrap_dek(msgspec.structs.replace(made, disk="disk-2"), HOST, KEK)


def test_a_damaged_disk_is_none() -> None:
    image = DiskImage(label(), b"b" * 4096)
    packed = image.pack()
    assert unpack_disk(packed) == image
    for at in (0, 5, 20, len(packed) - 1):
        bad = bytearray(packed)
        bad[at] ^= 1
        assert unpack_disk(bytes(bad)) is None
    assert unpack_disk(b"") is None and unpack_disk(packed[:30]) is None


def test_blocks_are_ciphertext_and_come_back_under_another_key() -> None:
    plain = [guest_block(guest_seed(b"marker"), index, 0) for index in range(4)]
    made = with_component(DiskImage(label()), replica("o"), plain, DEK)
    [placed] = made.label.components
    assert guest_seed(b"marker") not in made.pack()
    assert contents(made, placed, DEK) == plain
    assert contents(made, placed, NEXT) != plain
    again = reencrypt_disk(made, DEK, NEXT)
    assert contents(again, placed, NEXT) == plain


def test_what_belongs_to_no_component_is_left_behind_when_a_disk_is_written_anew() -> None:
    plain = [guest_block(guest_seed(b"marker"), index, 0) for index in range(4)]
    image = with_component(DiskImage(label()), replica("gone"), plain, DEK)
    image = with_component(image, witness("vote"), [], DEK)
    image = with_component(image, replica("kept"), plain[::-1], DEK)
    components = tuple(c for c in image.label.components if c.object != "gone")
    some = DiskImage(msgspec.structs.replace(image.label, components=components), image.blocks)
    made = reencrypt_disk(some, DEK, NEXT)
    vote, kept = made.label.components
    assert (vote.first, kept.first, made.count) == (0, 0, 4)
    assert contents(made, kept, NEXT) == plain[::-1]


@pytest.mark.parametrize(
    ("encrypted", "generation", "same_key", "enabled", "step"),
    [
        (False, 0, False, False, DiskStep.NOTHING),
        (False, 0, False, True, DiskStep.RECODE),
        (True, 2, True, True, DiskStep.NOTHING),
        (True, 2, False, True, DiskStep.REWRAP),
        (True, 1, False, True, DiskStep.REFORMAT),
        (True, 2, True, False, DiskStep.RECODE),
    ],
)
def test_what_is_done_with_a_disk(
    encrypted: bool, generation: int, same_key: bool, enabled: bool, step: DiskStep
) -> None:
    disk = Label(group="g", disk="d", kek=KEY if encrypted else None, dek_generation=generation)
    kek = KEY if same_key else CryptoKeyId(KeyId("next"), ProviderId("p"))
    wished = VsanEncryption(encryption_enabled=enabled, kek_id=kek, dek_generation_id=2)
    assert step_of(disk, wished) is step
