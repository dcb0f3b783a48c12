"""HKDF-SHA-256 (RFC 5869): keys derived from other secrets, one purpose per ``info``."""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocol.secret import KeyMaterial


def derive_key(secret: KeyMaterial, *, salt: bytes, info: bytes, size: int = 32) -> KeyMaterial:
    """``size`` bytes derived from secret, salt and purpose.

    The secret must be a key, or have as much entropy as one: guesses are not slowed down.
    """
    return KeyMaterial(HKDF(SHA256(), size, salt, info).derive(secret.reveal()))
