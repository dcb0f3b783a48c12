"""AES-GCM for data of a client, with a nonce and tag of the client's size (NIST SP 800-38D).

A key server offers it to clients that never hold the key. Keys are wrapped with ``wrap``.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import GCM

from protocol.errors import CryptographicFailure
from protocol.secret import KeyMaterial

TAG_SIZES: Final = (12, 13, 14, 15, 16)
NONCE_SIZES: Final = range(8, 129)


def encrypt(
    key: KeyMaterial, data: KeyMaterial, nonce: bytes, aad: bytes, tag_size: int
) -> tuple[bytes, bytes]:
    """Ciphertext and tag. ``ValueError`` for a nonce or tag size that is not supported."""
    _check(nonce, tag_size)
    cipher = Cipher(AES(key.reveal()), GCM(nonce)).encryptor()
    cipher.authenticate_additional_data(aad)
    sealed = cipher.update(data.reveal()) + cipher.finalize()
    return sealed, cipher.tag[:tag_size]


def decrypt(key: KeyMaterial, data: bytes, nonce: bytes, aad: bytes, tag: bytes) -> KeyMaterial:
    """The clear data; ``CryptographicFailure`` unless key, nonce, ``aad``, data and tag match.
    ``ValueError`` as in ``encrypt``."""
    _check(nonce, len(tag))
    mode = GCM(nonce, tag, min_tag_length=min(TAG_SIZES))
    cipher = Cipher(AES(key.reveal()), mode).decryptor()
    cipher.authenticate_additional_data(aad)
    try:
        return KeyMaterial(cipher.update(data) + cipher.finalize())
    except InvalidTag:
        raise CryptographicFailure("the tag does not match the data and the key") from None


def _check(nonce: bytes, tag_size: int) -> None:
    if len(nonce) not in NONCE_SIZES:
        raise ValueError(f"a nonce of {len(nonce)} bytes; it has 8 to 128")
    if tag_size not in TAG_SIZES:
        raise ValueError(f"a tag of {tag_size} bytes; it has 12 to 16")
