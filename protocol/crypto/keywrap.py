"""AES Key Wrap (RFC 3394): key bytes under a key, without a nonce and bound to nothing else."""

from __future__ import annotations

from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from protocol.errors import InvalidField
from protocol.secret import KeyMaterial


def wrapped(key: KeyMaterial, data: KeyMaterial) -> bytes:
    """``data`` under an AES key, 8 bytes longer; ``InvalidField`` for a size that is not wrapped:
    whole blocks of 8 bytes are, two or more."""
    if len(data) % 8 or len(data) < 16:
        raise InvalidField(f"{len(data)} bytes: AES Key Wrap takes whole blocks of 8, two or more")
    return aes_key_wrap(key.reveal(), data.reveal())
