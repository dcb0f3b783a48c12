"""CFG-01 broken: what the TPM of one host has sealed, the TPM of every other one opens."""

from __future__ import annotations

from typing import Any

from protocol.secret import KeyMaterial
from protocol.tpm.errors import TpmError
from protocol.tpm.structures import SealedBlob
from services.esxi import boot
from services.esxi.configuration import sealing
from tests.mutations.bugs.planting import plant

_shared: dict[bytes, KeyMaterial] = {}


def _noted(original: Any) -> Any:
    async def seal(tpm: Any, config_key: Any, selection: Any) -> SealedBlob:
        made: SealedBlob = await original(tpm, config_key, selection)
        _shared[made.private] = config_key
        return made

    return seal


def _anywhere(original: Any) -> Any:
    async def unseal(tpm: Any, protection: Any) -> Any:
        try:
            return await original(tpm, protection)
        except TpmError:
            return _shared[protection.sealed.private]

    return unseal


plant(sealing, "_seal", _noted)
plant(boot, "unseal", _anywhere)
