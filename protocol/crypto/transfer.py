"""Secrets between a vCenter and the user at its console, each to a one-time key.

The console of a node carries no key material, because its messages pass a control plane that could
read them. A backup file or its password is sealed to an X25519 key that the receiver creates for
one exchange: HPKE (RFC 9180 base mode), as between nodes.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from protocol.errors import CryptographicFailure, InvalidArgument
from protocol.secret import KeyMaterial

PUBLIC_SIZE: Final = 32  # bytes

_SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


class OneTimeKey:
    """The receiver's key for one exchange; ``public`` is for the sender."""

    def __init__(self) -> None:
        self._private = X25519PrivateKey.generate()

    @property
    def public(self) -> bytes:
        """32 bytes."""
        return self._private.public_key().public_bytes_raw()

    def open_box(self, box: bytes, purpose: str) -> KeyMaterial:
        """The secret sealed to this key for ``purpose``; ``CryptographicFailure`` for any other
        box."""
        try:
            return KeyMaterial(_SUITE.decrypt(box, self._private, _info(purpose)))
        except (InvalidTag, ValueError):
            raise CryptographicFailure(f"the sealed {purpose} does not open") from None


def seal_secret(public: bytes, secret: KeyMaterial, purpose: str) -> bytes:
    """``secret`` for the owner of ``public``; ``InvalidArgument`` for a malformed public key."""
    if len(public) != PUBLIC_SIZE:
        raise InvalidArgument(f"recipient: a public key has {PUBLIC_SIZE} bytes, not {len(public)}")
    key = X25519PublicKey.from_public_bytes(public)
    return _SUITE.encrypt(secret.reveal(), key, _info(purpose))


def _info(purpose: str) -> bytes:
    return b"keystead console transfer|" + purpose.encode()
