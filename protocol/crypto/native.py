"""Keys of a native provider: made from its key derivation key (NKP-11, NKP-14).

The product does not publish its function. Here a KEK is HKDF-SHA-256 (RFC 5869) of the KDK with the
key's id as context, so that an id is one KEK under one KDK, on whatever host it is derived.
Nothing in a derived key tells that the KDK was another one: who must notice keeps a check value.
"""

from __future__ import annotations

from typing import Final

from protocol.crypto.derive import derive_key
from protocol.secret import KeyMaterial
from protocol.terms import KeyId

KDK_SIZE: Final = 32  # bytes
_CHECKED: Final = b"keystead check value of a derived key"


def derive_kek(kdk: KeyMaterial, key_id: KeyId) -> KeyMaterial:
    """The KEK that this KDK makes of this id; 32 bytes."""
    return derive_key(kdk, salt=b"", info=b"keystead native KEK|" + key_id.encode())


def check_value(kek: KeyMaterial) -> str:
    """Twelve hexadecimal digits by which two sides see that they derived the same key.

    It is of a key of 256 bits that nobody chose, so it helps nobody to guess it.
    """
    return kek.fingerprint(_CHECKED)
