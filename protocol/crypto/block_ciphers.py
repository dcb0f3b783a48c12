"""Block ciphers for data of a client: CBC and ECB of AES and 3DES, with or without PKCS5 padding
(NIST SP 800-38A), and AES-GCM with a nonce and tag of the client's size (NIST SP 800-38D).
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB, GCM
from cryptography.hazmat.primitives.padding import PKCS7

from protocol.errors import CryptographicFailure
from protocol.secret import KeyMaterial

BLOCKS: Final = {"AES": 16, "3DES": 8}
"""Block sizes in bytes, by algorithm."""


def encrypt(
    algorithm: str, key: KeyMaterial, data: KeyMaterial, iv: bytes | None, *, padded: bool
) -> bytes:
    """The ciphertext; with ``iv`` None in ECB. ``ValueError`` for an IV that is not one block, and
    for data that is not whole blocks unless it is ``padded``."""
    clear, block = data.reveal(), BLOCKS[algorithm]
    if padded:
        padder = PKCS7(8 * block).padder()
        clear = padder.update(clear) + padder.finalize()
    _check(clear, iv, block)
    cipher = _cipher(algorithm, key, iv).encryptor()
    return cipher.update(clear) + cipher.finalize()


def decrypt(
    algorithm: str, key: KeyMaterial, data: bytes, iv: bytes | None, *, padded: bool
) -> KeyMaterial:
    """The clear data; ``CryptographicFailure`` for wrong padding, ``ValueError`` as in
    ``encrypt``."""
    block = BLOCKS[algorithm]
    _check(data, iv, block)
    cipher = _cipher(algorithm, key, iv).decryptor()
    clear = cipher.update(data) + cipher.finalize()
    if padded:
        unpadder = PKCS7(8 * block).unpadder()
        try:
            clear = unpadder.update(clear) + unpadder.finalize()
        except ValueError:
            raise CryptographicFailure("the decrypted data has no PKCS5 padding") from None
    return KeyMaterial(clear)


def _cipher(algorithm: str, key: KeyMaterial, iv: bytes | None) -> Cipher[CBC] | Cipher[ECB]:
    secret = key.reveal()
    if algorithm == "AES":
        cipher: AES | TripleDES = AES(secret)
    else:  # a key of 112 bits is two keys, of which the first is also the third
        cipher = TripleDES(secret + secret[:8] if len(secret) == 16 else secret)
    if iv is None:
        return Cipher(cipher, ECB())  # noqa: S305 - a client has asked for it
    return Cipher(cipher, CBC(iv))


def _check(data: bytes, iv: bytes | None, block: int) -> None:
    if iv is not None and len(iv) != block:
        raise ValueError(f"an IV of {len(iv)} bytes; it has {block}")
    if len(data) % block:
        raise ValueError(f"{len(data)} bytes are not whole blocks")


TAG_SIZES: Final = (12, 13, 14, 15, 16)
NONCE_SIZES: Final = range(8, 129)


def encrypt_gcm(
    key: KeyMaterial, data: KeyMaterial, nonce: bytes, aad: bytes, tag_size: int
) -> tuple[bytes, bytes]:
    """Ciphertext and tag. ``ValueError`` for a nonce or tag size that is not supported."""
    _check_gcm(nonce, tag_size)
    cipher = Cipher(AES(key.reveal()), GCM(nonce)).encryptor()
    cipher.authenticate_additional_data(aad)
    sealed = cipher.update(data.reveal()) + cipher.finalize()
    return sealed, cipher.tag[:tag_size]


def decrypt_gcm(key: KeyMaterial, data: bytes, nonce: bytes, aad: bytes, tag: bytes) -> KeyMaterial:
    """The clear data; ``CryptographicFailure`` unless key, nonce, ``aad``, data and tag match.
    ``ValueError`` as in ``encrypt``."""
    _check_gcm(nonce, len(tag))
    mode = GCM(nonce, tag, min_tag_length=min(TAG_SIZES))
    cipher = Cipher(AES(key.reveal()), mode).decryptor()
    cipher.authenticate_additional_data(aad)
    try:
        return KeyMaterial(cipher.update(data) + cipher.finalize())
    except InvalidTag:
        raise CryptographicFailure("the tag does not match the data and the key") from None


def _check_gcm(nonce: bytes, tag_size: int) -> None:
    if len(nonce) not in NONCE_SIZES:
        raise ValueError(f"a nonce of {len(nonce)} bytes; it has 8 to 128")
    if tag_size not in TAG_SIZES:
        raise ValueError(f"a tag of {tag_size} bytes; it has 12 to 16")
