"""Disk blocks: the published XTS vector, and what a wrong key or bit does."""

import pytest

from protocol.crypto.disk import decrypt_block, encrypt_block
from protocol.secret import KeyMaterial

DEK = KeyMaterial(bytes(range(64)))


def test_ieee_1619_vector_10() -> None:
    key = bytes.fromhex(
        "2718281828459045235360287471352662497757247093699959574966967627"
        "3141592653589793238462643383279502884197169399375105820974944592"
    )
    plain = bytes(range(256)) * 2
    stored = encrypt_block(KeyMaterial(key), 0xFF, plain)
    assert stored[:16].hex() == "1c3b3a102f770386e4836c99e370cf9b"
    assert decrypt_block(KeyMaterial(key), 0xFF, stored) == plain


def test_the_same_content_differs_from_block_to_block() -> None:
    plain = bytes(4096)
    assert encrypt_block(DEK, 0, plain) != encrypt_block(DEK, 1, plain)
    assert decrypt_block(DEK, 1, encrypt_block(DEK, 0, plain)) != plain


def test_one_flipped_ciphertext_bit_changes_its_whole_cipher_block() -> None:
    plain = bytes(4096)
    stored = bytearray(encrypt_block(DEK, 5, plain))
    stored[100] ^= 1
    read = decrypt_block(DEK, 5, bytes(stored))
    assert read[96:112] != plain[96:112]
    assert read[:96] + read[112:] == plain[:96] + plain[112:]


def test_a_short_dek_and_equal_halves_are_refused() -> None:
    with pytest.raises(ValueError, match="64"):
        encrypt_block(KeyMaterial(bytes(32)), 0, bytes(16))
    with pytest.raises(ValueError, match="uplicated"):
        encrypt_block(KeyMaterial(bytes(64)), 0, bytes(16))
