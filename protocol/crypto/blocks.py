"""AES-CBC and AES-ECB for data of a client (NIST SP 800-38A), with padding of PKCS5 or none.

Neither says whether data was altered: they are here because KMIP has them.
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB
from cryptography.hazmat.primitives.padding import PKCS7

from protocol.errors import CryptographicFailure
from protocol.secret import KeyMaterial

BLOCK: Final = 16


def encrypt(key: KeyMaterial, data: KeyMaterial, iv: bytes | None, *, padded: bool) -> bytes:
    """Ciphertext; ``iv`` None is ECB. ``ValueError`` for an IV that is no block, and for data that
    is no whole number of them unless it is ``padded``."""
    clear = data.reveal()
    if padded:
        padder = PKCS7(8 * BLOCK).padder()
        clear = padder.update(clear) + padder.finalize()
    _check(clear, iv)
    cipher = _cipher(key, iv).encryptor()
    return cipher.update(clear) + cipher.finalize()


def decrypt(key: KeyMaterial, data: bytes, iv: bytes | None, *, padded: bool) -> KeyMaterial:
    """The clear data; ``CryptographicFailure`` when its padding is none, ``ValueError`` as in
    ``encrypt``."""
    _check(data, iv)
    cipher = _cipher(key, iv).decryptor()
    clear = cipher.update(data) + cipher.finalize()
    if padded:
        unpadder = PKCS7(8 * BLOCK).unpadder()
        try:
            clear = unpadder.update(clear) + unpadder.finalize()
        except ValueError:
            raise CryptographicFailure("what was decrypted has no padding of PKCS5") from None
    return KeyMaterial(clear)


def _cipher(key: KeyMaterial, iv: bytes | None) -> Cipher[CBC] | Cipher[ECB]:
    if iv is None:
        return Cipher(AES(key.reveal()), ECB())  # noqa: S305 - a client has asked for it
    return Cipher(AES(key.reveal()), CBC(iv))


def _check(data: bytes, iv: bytes | None) -> None:
    if iv is not None and len(iv) != BLOCK:
        raise ValueError(f"an IV of {len(iv)} bytes; it has {BLOCK}")
    if len(data) % BLOCK:
        raise ValueError(f"{len(data)} bytes are no whole number of blocks")
