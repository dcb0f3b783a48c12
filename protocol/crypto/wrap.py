"""Wrapping a key under a key: AES-256-GCM with associated data (NIST SP 800-38D).

Used for keys at rest in the key server and for the DEKs of a VM under its KEK. The associated
data names what the wrapped key is for; a box moved to another place does not open.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocol.errors import CryptographicFailure
from protocol.secret import KeyMaterial

KEK_SIZE: Final = 32
NONCE_SIZE: Final = 12
TAG_SIZE: Final = 16
OVERHEAD: Final = NONCE_SIZE + TAG_SIZE
"""A wrapped key is that much longer than its clear form."""


def wrap(kek: KeyMaterial, secret: KeyMaterial, aad: bytes, nonce: bytes) -> bytes:
    """``nonce || ciphertext || tag`` of ``secret`` under ``kek``, bound to ``aad``.

    ``nonce`` is 12 bytes that were never used with this KEK (``ValueError`` for another size):
    twelve random bytes are safe for about 2**32 wraps. ``CryptographicFailure`` when ``kek``
    is not 32 bytes.
    """
    if len(nonce) != NONCE_SIZE:
        raise ValueError(f"a nonce has {NONCE_SIZE} bytes, not {len(nonce)}")
    return nonce + _cipher(kek).encrypt(nonce, secret.reveal(), aad)


def unwrap(kek: KeyMaterial, wrapped: bytes, aad: bytes) -> KeyMaterial:
    """The key in ``wrapped``.

    ``CryptographicFailure`` for another KEK, other associated data, altered or short bytes.
    """
    if len(wrapped) < OVERHEAD:
        raise CryptographicFailure(f"a wrapped key of {len(wrapped)} bytes is cut short")
    nonce, box = wrapped[:NONCE_SIZE], wrapped[NONCE_SIZE:]
    try:
        return KeyMaterial(_cipher(kek).decrypt(nonce, box, aad))
    except InvalidTag:
        raise CryptographicFailure("the wrapped key does not open: other key or place") from None


def _cipher(kek: KeyMaterial) -> AESGCM:
    if len(kek) != KEK_SIZE:
        raise CryptographicFailure(f"a wrapping key has {KEK_SIZE} bytes, not {len(kek)}")
    return AESGCM(kek.reveal())
