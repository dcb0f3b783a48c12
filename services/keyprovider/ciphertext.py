"""The content of a ciphertext: everything to get the key back except the primary key. Pure.

A format byte, the length of the primary key's id, that id, a nonce, and the key under AES-256-GCM.
The box is bound to the provider's name and to the primary key's id: in a ciphertext of another
provider or primary key it does not open. The id is included so that keys made under an earlier
primary key can still be unwrapped after the provider got another one (KPS-05).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from protocol.crypto.wrap import OVERHEAD, unwrap, wrap
from protocol.errors import CryptographicFailure, InvalidArgument
from protocol.messages.keyprovider import CIPHERTEXT_LIMIT
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, ProviderId

_FORMAT: Final = 1
ID_LIMIT: Final = 128
"""Bytes of a primary key's id."""


@dataclass(frozen=True)
class Ciphertext:
    """A parsed ciphertext."""

    primary_key_id: KeyId
    box: bytes


def close(
    primary: KeyMaterial,
    provider: ProviderId,
    primary_key_id: KeyId,
    secret: KeyMaterial,
    nonce: bytes,
) -> bytes:
    """The ciphertext of ``secret``; ``nonce``: 12 bytes never used before."""
    name = primary_key_id.encode()
    bound_to = _aad(provider, primary_key_id)
    return bytes((_FORMAT, len(name))) + name + wrap(primary, secret, bound_to, nonce)


def take_apart(ciphertext: bytes) -> Ciphertext:
    """Parse a ciphertext; ``InvalidArgument`` for other bytes."""
    if not 2 < len(ciphertext) <= CIPHERTEXT_LIMIT or ciphertext[0] != _FORMAT:
        raise InvalidArgument("ciphertext: not issued by a Key Provider Service")
    end = 2 + ciphertext[1]
    name, box = ciphertext[2:end], ciphertext[end:]
    if not 1 <= len(name) <= ID_LIMIT or not name.isascii() or len(box) <= OVERHEAD:
        raise InvalidArgument("ciphertext: not issued by a Key Provider Service")
    return Ciphertext(KeyId(name.decode()), box)


def open_(primary: KeyMaterial, provider: ProviderId, ciphertext: Ciphertext) -> KeyMaterial:
    """The key; ``InvalidArgument`` for another provider or primary key, or an altered
    ciphertext."""
    try:
        bound_to = _aad(provider, ciphertext.primary_key_id)
        return unwrap(primary, ciphertext.box, bound_to)
    except CryptographicFailure:
        raise InvalidArgument(
            f"ciphertext: it does not open under the primary key of {provider}"
        ) from None


def _aad(provider: ProviderId, primary_key_id: KeyId) -> bytes:
    """The lengths keep the two names apart."""
    parts = (b"keystead trusted key 1", provider.encode(), primary_key_id.encode())
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)
