"""NKP-10 and custody broken: vCenter keeps the KDK of a native provider as it is."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.secret import KeyMaterial
from services.vcenter.providers.native import NativeKeys
from tests.mutations.bugs.planting import plant


def _in_clear(original: Any) -> Any:
    async def kept(self: Any, provider: Any, key_id: str, kdk: Any, *, tpm_required: bool) -> Any:
        made = await original(self, provider, key_id, kdk, tpm_required=tpm_required)
        return msgspec.structs.replace(made, wrapped=kdk.reveal())

    return kept


plant(NativeKeys, "wrap_kdk", _in_clear)
plant(NativeKeys, "kdk", lambda _: lambda self, row: KeyMaterial(row.native.wrapped))
