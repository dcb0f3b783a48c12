"""A27 broken: key material shows its bytes."""

from __future__ import annotations

from protocol.secret import KeyMaterial
from tests.mutations.bugs.planting import plant

plant(KeyMaterial, "__repr__", lambda original: lambda self: f"KeyMaterial({self._bytes.hex()})")
