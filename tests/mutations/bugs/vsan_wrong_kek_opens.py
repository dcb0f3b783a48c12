"""VSAN-04 broken: a disk is opened with a KEK that does not wrap its data key."""

from __future__ import annotations

from typing import Any

from protocol.crypto.disk import DEK_SIZE
from protocol.errors import CryptographicFailure
from protocol.secret import KeyMaterial
from services.esxi.vsan import label
from tests.mutations.bugs.planting import plant


def _without_tag(original: Any) -> Any:
    def unwrap(kek: KeyMaterial, wrapped: bytes, aad: bytes) -> KeyMaterial:
        try:
            found: KeyMaterial = original(kek, wrapped, aad)
            return found
        except CryptographicFailure:
            return KeyMaterial(wrapped[:DEK_SIZE])

    return unwrap


plant(label, "unwrap", _without_tag)
