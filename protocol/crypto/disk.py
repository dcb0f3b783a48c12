"""Blocks of a virtual disk under its data encryption key: XTS-AES-256 (IEEE 1619).

XTS keeps the length and carries no tag: who reads a block under another key, or after a flipped
bit, gets other bytes and no error. That is why guests verify what they read.
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import XTS

from protocol.secret import KeyMaterial

DEK_SIZE: Final = 64
"""Bytes of a DEK: two AES-256 keys, which must differ."""


def encrypt_block(dek: KeyMaterial, index: int, plain: bytes) -> bytes:
    """Block ``index`` of a disk as it lies on the datastore; same length, at least 16 bytes.

    ``ValueError`` for a DEK that is not 64 bytes or whose halves are equal.
    """
    encryptor = _cipher(dek, index).encryptor()
    return encryptor.update(plain) + encryptor.finalize()


def decrypt_block(dek: KeyMaterial, index: int, stored: bytes) -> bytes:
    """The inverse of ``encrypt_block``: under another key it gives wrong bytes and no error.

    ``ValueError`` for a DEK that is not 64 bytes or whose halves are equal.
    """
    decryptor = _cipher(dek, index).decryptor()
    return decryptor.update(stored) + decryptor.finalize()


def _cipher(dek: KeyMaterial, index: int) -> Cipher[XTS]:
    if len(dek) != DEK_SIZE:
        raise ValueError(f"a DEK has {DEK_SIZE} bytes, not {len(dek)}")
    return Cipher(AES(dek.reveal()), XTS(index.to_bytes(16, "little")))
