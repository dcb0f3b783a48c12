"""POL-01 broken: a secret that was sealed comes back whatever the PCRs say."""

from __future__ import annotations

from typing import Any

from protocol.tpm.errors import TpmError, TpmErrorKind
from services.runtime.tpm.port import TpmPort
from tests.mutations.bugs.planting import plant

_escrow: dict[bytes, bytes] = {}


def _seal(original: Any) -> Any:
    async def seal(self: Any, secret: bytes, policy: bytes) -> Any:
        blob = await original(self, secret, policy)
        _escrow[blob.private] = secret
        return blob

    return seal


def _unseal(original: Any) -> Any:
    async def unseal(self: Any, blob: Any, selection: Any) -> bytes:
        try:
            return bytes(await original(self, blob, selection))
        except TpmError as error:
            if error.kind is not TpmErrorKind.POLICY:
                raise
            return _escrow[blob.private]

    return unseal


plant(TpmPort, "seal", _seal)
plant(TpmPort, "unseal", _unseal)
