"""The stream of a migration: AES-256-GCM under a key that is made for it alone (MOB-01).

A nonce is the 64 bits that came with the key and a counter of 32 bits, so no two parts of a stream
have the same one; whoever sends never goes back. Each part is bound to what it is said to be.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocol.errors import CryptographicFailure
from protocol.secret import KeyMaterial

KEY_SIZE: Final = 32
NONCE_BASE_SIZE: Final = 8
_COUNTER_SIZE: Final = 4


class StreamCipher:
    """One side of one stream. ``CryptographicFailure`` when key or nonce base has another size."""

    def __init__(self, key: KeyMaterial, nonce_base: bytes) -> None:
        if len(key) != KEY_SIZE or len(nonce_base) != NONCE_BASE_SIZE:
            raise CryptographicFailure(
                f"a stream has a key of {KEY_SIZE} bytes and {NONCE_BASE_SIZE} of its nonces"
            )
        self._cipher, self._base = AESGCM(key.reveal()), nonce_base
        self._next = 0

    def seal_part(self, number: int, plain: bytes, aad: bytes) -> bytes:
        """Part ``number``; ``ValueError`` for one that is not behind all that were sealed."""
        if number < self._next:
            raise ValueError(f"part {number} of the stream was sealed already")
        self._next = number + 1
        return self._cipher.encrypt(self._nonce(number), plain, aad)

    def open_part(self, number: int, box: bytes, aad: bytes) -> bytes:
        """``CryptographicFailure`` unless it is exactly that part of this stream."""
        try:
            return self._cipher.decrypt(self._nonce(number), box, aad)
        except InvalidTag:
            raise CryptographicFailure(f"part {number} of the stream does not open") from None

    def _nonce(self, number: int) -> bytes:
        return self._base + number.to_bytes(_COUNTER_SIZE, "big")
