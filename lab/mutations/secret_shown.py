"""A10 broken: key material shows its bytes."""

from __future__ import annotations

from lab.mutations.planting import plant
from protocol.secret import KeyMaterial

plant(KeyMaterial, "__repr__", lambda original: lambda self: f"KeyMaterial({self._bytes.hex()})")
