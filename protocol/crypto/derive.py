"""Keys derived from other secrets with HKDF-SHA-256 (RFC 5869), one purpose per ``info``, and keys
of a native provider, derived from its key derivation key (NKP-11, NKP-14).
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocol.secret import KeyMaterial
from protocol.terms import KeyId


def derive_key(secret: KeyMaterial, *, salt: bytes, info: bytes, size: int = 32) -> KeyMaterial:
    """``size`` bytes derived from secret, salt and purpose.

    The secret must be a key, or have as much entropy as one: guesses are not slowed down.
    """
    return KeyMaterial(HKDF(SHA256(), size, salt, info).derive(secret.reveal()))


KDK_SIZE: Final = 32  # bytes
_CHECKED: Final = b"keystead check value of a derived key"


def derive_kek(kdk: KeyMaterial, key_id: KeyId) -> KeyMaterial:
    """The KEK of this id under this KDK; 32 bytes."""
    return derive_key(kdk, salt=b"", info=b"keystead native KEK|" + key_id.encode())


def check_value(kek: KeyMaterial) -> str:
    """Twelve hexadecimal digits by which two sides see that they derived the same key.

    The key has 256 random bits, so the digits do not help to guess it.
    """
    return kek.fingerprint(_CHECKED)
