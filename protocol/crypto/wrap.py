"""Wrapping a key under a key: AES-256-GCM with associated data (NIST SP 800-38D), and AES Key Wrap
without a nonce or associated data (RFC 3394).
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from protocol.errors import CryptographicFailure, InvalidField
from protocol.secret import KeyMaterial

KEK_SIZE: Final = 32
NONCE_SIZE: Final = 12
TAG_SIZE: Final = 16
OVERHEAD: Final = NONCE_SIZE + TAG_SIZE
"""Bytes by which a wrapped key is longer than the key."""


class Wrapping:
    """A KEK with its cipher, for many keys.

    ``CryptographicFailure`` when ``kek`` is not 32 bytes.
    """

    def __init__(self, kek: KeyMaterial) -> None:
        if len(kek) != KEK_SIZE:
            raise CryptographicFailure(f"a wrapping key has {KEK_SIZE} bytes, not {len(kek)}")
        self._cipher = AESGCM(kek.reveal())

    def wrap(self, secret: KeyMaterial, aad: bytes, nonce: bytes) -> bytes:
        """``nonce || ciphertext || tag`` of ``secret``, bound to ``aad``.

        ``nonce`` is 12 bytes never used before with this KEK (``ValueError`` for another size);
        random nonces are safe for about 2**32 wraps.
        """
        if len(nonce) != NONCE_SIZE:
            raise ValueError(f"a nonce has {NONCE_SIZE} bytes, not {len(nonce)}")
        return nonce + self._cipher.encrypt(nonce, secret.reveal(), aad)

    def unwrap(self, wrapped: bytes, aad: bytes) -> KeyMaterial:
        """The key in ``wrapped``.

        ``CryptographicFailure`` for another KEK, other associated data, or altered or missing
        bytes.
        """
        if len(wrapped) < OVERHEAD:
            raise CryptographicFailure(f"a wrapped key of {len(wrapped)} bytes is cut short")
        nonce, box = wrapped[:NONCE_SIZE], wrapped[NONCE_SIZE:]
        try:
            return KeyMaterial(self._cipher.decrypt(nonce, box, aad))
        except InvalidTag:
            raise CryptographicFailure(
                "the wrapped key does not open: wrong KEK or wrong context"
            ) from None


def wrap(kek: KeyMaterial, secret: KeyMaterial, aad: bytes, nonce: bytes) -> bytes:
    """``Wrapping.wrap`` of one key."""
    return Wrapping(kek).wrap(secret, aad, nonce)


def unwrap(kek: KeyMaterial, wrapped: bytes, aad: bytes) -> KeyMaterial:
    """``Wrapping.unwrap`` of one key."""
    return Wrapping(kek).unwrap(wrapped, aad)


def wrap_key(key: KeyMaterial, data: KeyMaterial) -> bytes:
    """``data`` wrapped under an AES key, 8 bytes longer; ``InvalidField`` as in ``check_size``."""
    check_size(len(data))
    return aes_key_wrap(key.reveal(), data.reveal())


def check_size(size: int) -> None:
    """``InvalidField`` unless ``size`` is a multiple of 8, and at least 16."""
    if size % 8 or size < 16:
        raise InvalidField(f"{size} bytes: AES Key Wrap takes whole blocks of 8, two or more")
