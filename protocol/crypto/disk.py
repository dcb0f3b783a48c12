"""Blocks of a virtual disk under its data encryption key: XTS-AES-256 (IEEE 1619).

XTS keeps the length and has no authentication tag. Reading a block with another key, or after a bit
flip, gives other bytes and no error. Guests therefore verify what they read.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import XTS

from protocol.secret import KeyMaterial

DEK_SIZE: Final = 64
"""Bytes of a DEK: two different AES-256 keys."""


class DiskCipher:
    """Encrypts and decrypts the blocks of one disk. The DEK is checked once, not at every block.

    ``ValueError`` for a DEK that is not 64 bytes, and at the first block for one with equal halves.
    Not thread-safe: a block's number is set, then used.
    """

    def __init__(self, dek: KeyMaterial) -> None:
        if len(dek) != DEK_SIZE:
            raise ValueError(f"a DEK has {DEK_SIZE} bytes, not {len(dek)}")
        self._cipher = Cipher(AES(dek.reveal()), _number(0))

    def encrypt(self, index: int, plain: bytes) -> bytes:
        """Block ``index`` as stored on the datastore; same length, at least 16 bytes."""
        self._cipher.mode = _number(index)
        encryptor = self._cipher.encryptor()
        return encryptor.update(plain) + encryptor.finalize()

    def decrypt(self, index: int, stored: bytes) -> bytes:
        """The inverse of ``encrypt``; with another key it returns wrong bytes and no error."""
        self._cipher.mode = _number(index)
        decryptor = self._cipher.decryptor()
        return decryptor.update(stored) + decryptor.finalize()


@lru_cache(maxsize=1024)
def _number(index: int) -> XTS:
    """A block's number in XTS's encoding; it does not depend on a key."""
    return XTS(index.to_bytes(16, "little"))
