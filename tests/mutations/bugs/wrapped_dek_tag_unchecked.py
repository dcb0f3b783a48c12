"""NKP-18 broken: a wrapped DEK opens under any KEK, to whatever comes of it (KEY-01)."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from protocol.crypto.wrap import NONCE_SIZE, TAG_SIZE
from protocol.errors import CryptographicFailure
from protocol.secret import KeyMaterial
from services.esxi.vms import vmx
from tests.mutations.bugs.planting import plant


def _without_tag(original: Any) -> Any:
    def unwrap(kek: KeyMaterial, wrapped: bytes, aad: bytes) -> KeyMaterial:
        try:
            found: KeyMaterial = original(kek, wrapped, aad)
            return found
        except CryptographicFailure:
            counter = wrapped[:NONCE_SIZE] + (2).to_bytes(4, "big")
            cipher = Cipher(algorithms.AES(kek.reveal()), modes.CTR(counter)).decryptor()
            return KeyMaterial(cipher.update(wrapped[NONCE_SIZE:-TAG_SIZE]))

    return unwrap


plant(vmx, "unwrap", _without_tag)
