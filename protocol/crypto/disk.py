"""Blocks of a virtual disk under its data encryption key: XTS-AES-256 (IEEE 1619).

XTS keeps the length and carries no tag: who reads a block under another key, or after a flipped
bit, gets other bytes and no error. That is why guests verify what they read.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import XTS

from protocol.secret import KeyMaterial

DEK_SIZE: Final = 64
"""Bytes of a DEK: two AES-256 keys, which must differ."""


class DiskCipher:
    """The blocks of one disk: what a DEK has to be is looked at once, and not at every block.

    ``ValueError`` for a DEK that is not 64 bytes, and at the first block for one whose halves are
    equal. Not for several threads: a block's number is set, then used.
    """

    def __init__(self, dek: KeyMaterial) -> None:
        if len(dek) != DEK_SIZE:
            raise ValueError(f"a DEK has {DEK_SIZE} bytes, not {len(dek)}")
        self._cipher = Cipher(AES(dek.reveal()), _number(0))

    def encrypt(self, index: int, plain: bytes) -> bytes:
        """Block ``index`` as it lies on the datastore; same length, at least 16 bytes."""
        self._cipher.mode = _number(index)
        encryptor = self._cipher.encryptor()
        return encryptor.update(plain) + encryptor.finalize()

    def decrypt(self, index: int, stored: bytes) -> bytes:
        """The inverse of ``encrypt``: under another key it gives wrong bytes and no error."""
        self._cipher.mode = _number(index)
        decryptor = self._cipher.decryptor()
        return decryptor.update(stored) + decryptor.finalize()


@lru_cache(maxsize=1024)
def _number(index: int) -> XTS:
    """A block's number as XTS takes it; it belongs to no key."""
    return XTS(index.to_bytes(16, "little"))
