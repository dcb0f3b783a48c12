"""The stream of a migration: AES-256-GCM under a key created for it alone (MOB-01).

A nonce is the 64-bit base that came with the key and a 32-bit counter. The sender never goes back,
so no two parts of a stream have the same nonce. Each part is bound to its associated data.
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
    """One side of one stream. ``CryptographicFailure`` for a wrong size of key or nonce base."""

    def __init__(self, key: KeyMaterial, nonce_base: bytes) -> None:
        if len(key) != KEY_SIZE or len(nonce_base) != NONCE_BASE_SIZE:
            raise CryptographicFailure(
                f"a stream key has {KEY_SIZE} bytes and a nonce base of {NONCE_BASE_SIZE}"
            )
        self._cipher, self._base = AESGCM(key.reveal()), nonce_base
        self._next = 0

    def seal_part(self, number: int, plain: bytes, aad: bytes) -> bytes:
        """Part ``number``; ``ValueError`` unless it comes after all parts sealed so far."""
        if number < self._next:
            raise ValueError(f"part {number} of the stream was sealed already")
        self._next = number + 1
        return self._cipher.encrypt(self._nonce(number), plain, aad)

    def open_part(self, number: int, box: bytes, aad: bytes) -> bytes:
        """The clear content; ``CryptographicFailure`` unless ``box`` is exactly that part of this
        stream."""
        try:
            return self._cipher.decrypt(self._nonce(number), box, aad)
        except InvalidTag:
            raise CryptographicFailure(f"part {number} of the stream does not open") from None

    def _nonce(self, number: int) -> bytes:
        return self._base + number.to_bytes(_COUNTER_SIZE, "big")
