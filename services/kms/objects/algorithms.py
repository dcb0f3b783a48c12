"""The symmetric keys that are made and kept here (algorithms, lengths in bits and bytes), and the
block cipher modes: how each encrypts and decrypts the data of a request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Final, NamedTuple

from protocol.attributes import CryptographicParametersValue
from protocol.crypto import block_ciphers
from protocol.errors import FeatureNotSupported, InvalidField, InvalidMessage, TagLengthNotSupported
from protocol.secret import KeyMaterial
from services.kms.objects.request_types import DecryptData, EncryptData

SIZES: Final[Mapping[str, Mapping[int, int]]] = {
    "AES": {128: 16, 192: 24, 256: 32},
    "3DES": {112: 16, 168: 24},
    "SKIPJACK": {80: 10},
}
"""By algorithm: lengths in bits with the size of the key in bytes."""

MASK_LIMIT: Final = 2**31


@lru_cache(maxsize=256)
def key_size(algorithm: str, length: int, usage_mask: int) -> int:
    """Bytes of such a key; ``InvalidField`` when there is no such key."""
    sizes = SIZES.get(algorithm)
    if sizes is None:
        raise InvalidField(f"no algorithm here: {algorithm[:64]}; there are {', '.join(SIZES)}")
    if length not in sizes:
        lengths = ", ".join(map(str, sizes))
        raise InvalidField(f"an {algorithm} key has {lengths} bits, not {length}")
    if not 0 <= usage_mask < MASK_LIMIT:
        raise InvalidField(f"no usage mask: {usage_mask}")
    return sizes[length]


TAG_SIZE: Final = 16
LONGEST_IV: Final = 16


class Mode(NamedTuple):
    """One mode. ``iv_size``: bytes to draw for a Random IV; 0 when it has no IV.

    Both functions take an IV that was checked against the parameters, and raise ``ValueError`` for
    sizes that the mode does not have.
    """

    iv_size: int
    encrypt: Callable[
        [KeyMaterial, EncryptData, bytes, CryptographicParametersValue], tuple[bytes, bytes]
    ]
    decrypt: Callable[[KeyMaterial, DecryptData, CryptographicParametersValue], KeyMaterial]


def _encrypt_gcm(
    key: KeyMaterial, request: EncryptData, iv: bytes, parameters: CryptographicParametersValue
) -> tuple[bytes, bytes]:
    size = TAG_SIZE if parameters.tag_length is None else parameters.tag_length
    if size not in block_ciphers.TAG_SIZES:
        raise TagLengthNotSupported(f"Tag Length {size}: GCM has 12 to 16 bytes")
    return block_ciphers.encrypt_gcm(key, request.data, iv, request.additional_data, size)


def _decrypt_gcm(
    key: KeyMaterial, request: DecryptData, parameters: CryptographicParametersValue
) -> KeyMaterial:
    tag = len(request.tag)
    if parameters.tag_length not in (None, tag):
        # A truncated tag is easier to guess: it must have the agreed length.
        raise InvalidField(f"a tag of {tag} bytes; the parameters say {parameters.tag_length}")
    return block_ciphers.decrypt_gcm(
        key, request.data, request.iv, request.additional_data, request.tag
    )


def _to_blocks(
    algorithm: str,
    key: KeyMaterial,
    request: EncryptData,
    iv: bytes,
    parameters: CryptographicParametersValue,
) -> tuple[bytes, bytes]:
    _bare(request.additional_data)
    padded = _padded(parameters)
    return block_ciphers.encrypt(algorithm, key, request.data, iv or None, padded=padded), b""


def _from_blocks(
    algorithm: str, key: KeyMaterial, request: DecryptData, parameters: CryptographicParametersValue
) -> KeyMaterial:
    _bare(request.additional_data + request.tag)
    padded = _padded(parameters)
    return block_ciphers.decrypt(algorithm, key, request.data, request.iv or None, padded=padded)


def _of_blocks(algorithm: str) -> dict[str, Mode]:
    to, back = partial(_to_blocks, algorithm), partial(_from_blocks, algorithm)
    return {"CBC": Mode(block_ciphers.BLOCKS[algorithm], to, back), "ECB": Mode(0, to, back)}


def _bare(more: bytes) -> None:
    if more:
        raise InvalidField("this mode has no tag, and binds no other data")


def _padded(parameters: CryptographicParametersValue) -> bool:
    if parameters.padding_method not in (None, "None", "PKCS5"):
        raise FeatureNotSupported(
            f"padding {parameters.padding_method}: PKCS5 or none is done here"
        )
    return parameters.padding_method == "PKCS5"


MODES: Final[dict[str, dict[str, Mode]]] = {
    "AES": {"GCM": Mode(12, _encrypt_gcm, _decrypt_gcm)} | _of_blocks("AES"),
    "3DES": _of_blocks("3DES"),
}
"""By algorithm and Block Cipher Mode."""


def mode_of(parameters: CryptographicParametersValue, algorithm: str) -> Mode:
    """The requested mode, GCM by default; ``FeatureNotSupported``."""
    name = parameters.block_cipher_mode or "GCM"
    mode = MODES.get(algorithm, {}).get(name)
    if mode is None:
        known = "; ".join(f"{one} with {', '.join(MODES[one])}" for one in MODES)
        raise FeatureNotSupported(f"{algorithm} with {name} is not done here: {known}")
    return mode


def check_iv(mode: Mode, iv: bytes, parameters: CryptographicParametersValue) -> None:
    """``InvalidMessage`` for a missing IV, ``InvalidField`` for one that does not fit.

    KMIP 1.4 section 3.6 counts IV Length in bits. OpenBao's client counts bytes; for the modes here
    the two cannot be confused.
    """
    if bool(iv) != bool(mode.iv_size):
        if iv:
            raise InvalidField("this mode has no IV")
        raise InvalidMessage("the IV is missing")
    if parameters.iv_length not in (None, 8 * len(iv), len(iv)):
        text = f"an IV of {8 * len(iv)} bits; the parameters say {parameters.iv_length}"
        raise InvalidField(text)
