"""Keys of a standard provider that are wrapped by a key of its key server (KEY-07).

The id of such a key is everything that is stored of it: the id of its wrapping key, and its value
under that key (AES-256-GCM). It travels with the VM, in the VM's configuration, and only the
wrapping key is at the key server. The published API has no other field for the wrapped value, and
its form is not published [U]
([decision 113](docs/decisions/0113-a-wrapped-key-is-its-id.md)).

    wrapped:<id of the wrapping key>:<nonce, ciphertext and tag in base64url>

The box is bound to the provider's name and to the wrapping key's id.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Final

from protocol.crypto.wrap import OVERHEAD, unwrap, wrap
from protocol.errors import CryptographicFailure
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, ProviderId

KEY_SIZE: Final = 32
_PREFIX: Final = "wrapped:"
_BOX_SIZE: Final = KEY_SIZE + OVERHEAD


@dataclass(frozen=True)
class WrappedKey:
    """The content of a wrapped key's id."""

    wrapping_key: KeyId
    box: bytes


def parse_wrapped(key_id: KeyId) -> WrappedKey | None:
    """The content of a wrapped key's id; None for any other id."""
    if not key_id.startswith(_PREFIX):
        return None
    wrapping_key, _, text = key_id[len(_PREFIX) :].rpartition(":")
    try:
        box = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None
    if not wrapping_key or len(box) != _BOX_SIZE or _format(KeyId(wrapping_key), box) != key_id:
        return None
    return WrappedKey(KeyId(wrapping_key), box)


def key_at_server(key_id: KeyId) -> KeyId:
    """The id under which a key server has what is needed for this key: that of its wrapping key,
    or its own."""
    found = parse_wrapped(key_id)
    return key_id if found is None else found.wrapping_key


def wrap_key(
    wrapping_key: KeyId,
    material: KeyMaterial,
    provider: ProviderId,
    secret: KeyMaterial,
    nonce: bytes,
) -> KeyId:
    """The id of ``secret``, a key of 32 bytes; ``nonce``: 12 bytes never used before."""
    return _format(wrapping_key, wrap(material, secret, _aad(provider, wrapping_key), nonce))


def unwrap_key(wrapped: WrappedKey, material: KeyMaterial, provider: ProviderId) -> KeyMaterial:
    """The key; ``CryptographicFailure`` for another provider or wrapping key, or an altered id."""
    key = unwrap(material, wrapped.box, _aad(provider, wrapped.wrapping_key))
    if len(key) != KEY_SIZE:
        raise CryptographicFailure(f"a wrapped key has {KEY_SIZE} bytes, not {len(key)}")
    return key


def _format(wrapping_key: KeyId, box: bytes) -> KeyId:
    return KeyId(f"{_PREFIX}{wrapping_key}:{urlsafe_b64encode(box).rstrip(b'=').decode()}")


def _aad(provider: ProviderId, wrapping_key: KeyId) -> bytes:
    """The lengths keep the two names apart."""
    parts = (b"keystead wrapped key 1", provider.encode(), wrapping_key.encode())
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)
