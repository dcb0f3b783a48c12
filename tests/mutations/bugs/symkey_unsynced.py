"""The key of the KDKs that an earlier life has left unsynced is used as if it were durable."""

from __future__ import annotations

from protocol.secret import KeyMaterial
from services.vcenter.providers.native import NativeKeys

_settling = NativeKeys._wrapping_key


async def _wrapping_key(self: NativeKeys) -> KeyMaterial:
    self._owed = None
    return await _settling(self)


NativeKeys._wrapping_key = _wrapping_key  # type: ignore[method-assign]
