"""Disk blocks: the published XTS vector, and what a wrong key or bit does."""

import pytest

from protocol.crypto.disk import DiskCipher
from protocol.secret import KeyMaterial

DISK = DiskCipher(KeyMaterial(bytes(range(64))))


def test_ieee_1619_vector_10() -> None:
    key = bytes.fromhex(
        "2718281828459045235360287471352662497757247093699959574966967627"
        "3141592653589793238462643383279502884197169399375105820974944592"
    )
    plain = bytes(range(256)) * 2
    disk = DiskCipher(KeyMaterial(key))
    stored = disk.encrypt(0xFF, plain)
    assert stored[:16].hex() == "1c3b3a102f770386e4836c99e370cf9b"
    assert disk.decrypt(0xFF, stored) == plain


def test_the_same_content_differs_from_block_to_block() -> None:
    plain = bytes(4096)
    assert DISK.encrypt(0, plain) != DISK.encrypt(1, plain)
    assert DISK.decrypt(1, DISK.encrypt(0, plain)) != plain


def test_one_flipped_ciphertext_bit_changes_its_whole_cipher_block() -> None:
    plain = bytes(4096)
    stored = bytearray(DISK.encrypt(5, plain))
    stored[100] ^= 1
    read = DISK.decrypt(5, bytes(stored))
    assert read[96:112] != plain[96:112]
    assert read[:96] + read[112:] == plain[:96] + plain[112:]


def test_a_short_dek_and_equal_halves_are_refused() -> None:
    with pytest.raises(ValueError, match="64"):
        DiskCipher(KeyMaterial(bytes(32)))
    with pytest.raises(ValueError, match="uplicated"):
        DiskCipher(KeyMaterial(bytes(64))).encrypt(0, bytes(16))


def test_blocks_of_one_disk_may_come_in_any_order() -> None:
    """Each block by itself, whatever block its cipher was at before."""
    alone = [DiskCipher(KeyMaterial(bytes(range(64)))).encrypt(n, bytes(64)) for n in range(4)]
    for index in (3, 0, 2, 2, 1, 3):
        assert DISK.encrypt(index, bytes(64)) == alone[index]
        assert DISK.decrypt(3 - index, alone[3 - index]) == bytes(64)
