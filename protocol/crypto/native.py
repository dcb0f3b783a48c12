"""Keys of a native provider, derived from its key derivation key (NKP-11, NKP-14).

The product does not publish its function. Here a KEK is HKDF-SHA-256 (RFC 5869) of the KDK with the
key's id as context: an id gives the same KEK under the same KDK on every host. A derived key does
not show which KDK it comes from; a check value does.
"""

from __future__ import annotations

from typing import Final

from protocol.crypto.derive import derive_key
from protocol.secret import KeyMaterial
from protocol.terms import KeyId

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
