"""AES Key Wrap (RFC 3394): key bytes under a key, without a nonce or associated data."""

from __future__ import annotations

from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from protocol.errors import InvalidField
from protocol.secret import KeyMaterial


def wrap_key(key: KeyMaterial, data: KeyMaterial) -> bytes:
    """``data`` wrapped under an AES key, 8 bytes longer; ``InvalidField`` as in ``check_size``."""
    check_size(len(data))
    return aes_key_wrap(key.reveal(), data.reveal())


def check_size(size: int) -> None:
    """``InvalidField`` unless ``size`` is a multiple of 8, and at least 16."""
    if size % 8 or size < 16:
        raise InvalidField(f"{size} bytes: AES Key Wrap takes whole blocks of 8, two or more")
