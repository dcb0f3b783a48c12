"""What each block cipher mode does with the data of a request; AES only.

A new mode is its two functions and its line in ``MODES``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from protocol.attributes import CryptographicParameters
from protocol.crypto import blocks, gcm
from protocol.errors import FeatureNotSupported, InvalidField, InvalidMessage
from protocol.secret import KeyMaterial
from services.kms.cipher_operations import Decrypt, Encrypt

TAG_SIZE: Final = 16
LONGEST_IV: Final = 16


class Mode(NamedTuple):
    """One mode. ``iv_size``: bytes that are drawn for a Random IV; 0 when it has no IV.

    Both functions take an IV that was checked against the parameters, and raise ``ValueError`` for
    sizes that the mode does not have.
    """

    iv_size: int
    encrypt: Callable[[KeyMaterial, Encrypt, bytes, CryptographicParameters], tuple[bytes, bytes]]
    decrypt: Callable[[KeyMaterial, Decrypt, CryptographicParameters], KeyMaterial]


def _sealed(
    key: KeyMaterial, request: Encrypt, iv: bytes, parameters: CryptographicParameters
) -> tuple[bytes, bytes]:
    size = TAG_SIZE if parameters.tag_length is None else parameters.tag_length
    return gcm.encrypt(key, request.data, iv, request.additional_data, size)


def _opened(key: KeyMaterial, request: Decrypt, parameters: CryptographicParameters) -> KeyMaterial:
    tag = len(request.tag)
    if parameters.tag_length not in (None, tag):
        # A tag that is cut is easier to guess: it has the length that was agreed on.
        raise InvalidField(f"a tag of {tag} bytes; the parameters say {parameters.tag_length}")
    return gcm.decrypt(key, request.data, request.iv, request.additional_data, request.tag)


def _to_blocks(
    key: KeyMaterial, request: Encrypt, iv: bytes, parameters: CryptographicParameters
) -> tuple[bytes, bytes]:
    _bare(request.additional_data)
    return blocks.encrypt(key, request.data, iv or None, padded=_padded(parameters)), b""


def _from_blocks(
    key: KeyMaterial, request: Decrypt, parameters: CryptographicParameters
) -> KeyMaterial:
    _bare(request.additional_data + request.tag)
    return blocks.decrypt(key, request.data, request.iv or None, padded=_padded(parameters))


def _bare(more: bytes) -> None:
    if more:
        raise InvalidField("this mode has no tag, and binds no other data")


def _padded(parameters: CryptographicParameters) -> bool:
    if parameters.padding_method not in (None, "None", "PKCS5"):
        raise FeatureNotSupported(
            f"padding {parameters.padding_method}: PKCS5 or none is done here"
        )
    return parameters.padding_method == "PKCS5"


MODES: Final[dict[str, Mode]] = {
    "GCM": Mode(12, _sealed, _opened),
    "CBC": Mode(16, _to_blocks, _from_blocks),
    "ECB": Mode(0, _to_blocks, _from_blocks),
}


def mode_of(parameters: CryptographicParameters, algorithm: str) -> Mode:
    """The mode that is asked for, GCM when none is; ``FeatureNotSupported``."""
    name = parameters.block_cipher_mode or "GCM"
    mode = MODES.get(name)
    if mode is None or algorithm != "AES":
        text = f"{algorithm} with {name}: only AES with {', '.join(MODES)} is done here"
        raise FeatureNotSupported(text)
    return mode


def check_iv(mode: Mode, iv: bytes, parameters: CryptographicParameters) -> None:
    """``InvalidMessage`` for one that is missing, ``InvalidField`` for one that does not fit.

    KMIP 1.4 section 3.6 counts IV Length in bits. OpenBao's client counts bytes, which no IV of a
    mode here can be mistaken for.
    """
    if bool(iv) != bool(mode.iv_size):
        if iv:
            raise InvalidField("this mode has no IV")
        raise InvalidMessage("the IV is missing")
    if parameters.iv_length not in (None, 8 * len(iv), len(iv)):
        text = f"an IV of {8 * len(iv)} bits; the parameters say {parameters.iv_length}"
        raise InvalidField(text)
