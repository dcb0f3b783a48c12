"""The root ``tpm``: 32 random bytes, sealed by the TPM under the server over PCR 7 (POL-01).

The server starts by itself on this machine and with these Secure Boot settings. The blob in the
database opens in no other TPM, nor in this one after it was cleared; the keys are then lost. An
administrator changes the root before the TPM is replaced.
"""

from __future__ import annotations

from typing import Final

import msgspec

from protocol.errors import CryptographicFailure
from protocol.secret import KeyMaterial
from protocol.tpm.errors import TpmError, TpmErrorKind
from protocol.tpm.quote import policy_pcr_digest
from protocol.tpm.structures import PCR_SECURE_BOOT, SealedBlob
from services.kms.sealing.roots.base import ROOT_SIZE, MadeRoot, RootLocked, RootMeans
from services.runtime.ports import Tpm

_TRIES: Final = 3  # a TPM may answer that the command must be repeated
_LOST: Final = (
    "Put the TPM back that it was sealed to, or restore a backup whose root is another one; "
    "without either its keys are lost: remove its database keys.db and power it on with "
    "--accept-rollback, and it begins without keys"
)
_CURES: Final = {
    TpmErrorKind.POLICY: (
        "the Secure Boot state measured into PCR 7 is not the one its keys were sealed to",
        "Set the firmware's Secure Boot as it was, and power it on again",
    ),
    TpmErrorKind.INTEGRITY: ("its keys were sealed by another TPM, or this one was cleared", _LOST),
    TpmErrorKind.HANDLE: ("its keys were sealed by another TPM, or this one was cleared", _LOST),
}
_OTHERWISE: Final = (
    "the TPM that its keys are sealed to fails",
    "Repair it, and power it on again",
)
_blob = msgspec.msgpack.Decoder(SealedBlob)


class TpmRoot:
    """See ``Root``."""

    async def make(self, means: RootMeans) -> MadeRoot:
        """See ``Root``."""
        tpm, secret = _there(means), means.rng.token(ROOT_SIZE)
        try:
            await tpm.ensure_srk()
            policy = policy_pcr_digest(PCR_SECURE_BOOT, await tpm.pcrs(PCR_SECURE_BOOT))
            blob = await tpm.seal(secret, policy)
        except TpmError as error:
            raise _root_locked(error) from None
        return MadeRoot(KeyMaterial(secret), msgspec.msgpack.encode(blob))

    async def open(self, means: RootMeans, params: bytes) -> KeyMaterial:
        """See ``Root``."""
        tpm = _there(means)
        try:
            blob = _blob.decode(params)
        except (msgspec.DecodeError, ValueError):
            raise CryptographicFailure("the header of the key ring was altered") from None
        for attempt in range(_TRIES):
            try:
                await tpm.ensure_srk()
                return KeyMaterial(await tpm.unseal(blob, PCR_SECURE_BOOT))
            except TpmError as error:
                if error.kind is not TpmErrorKind.RETRY or attempt == _TRIES - 1:
                    raise _root_locked(error) from None
        raise AssertionError("unreachable")

    async def drop(self, means: RootMeans) -> None:
        """Nothing: its parameters on the disk are replaced with the ring."""


def _there(means: RootMeans) -> Tpm:
    if means.tpm is None:
        raise RootLocked(f"its keys are sealed by a TPM, and it has none. {_LOST}")
    return means.tpm


def _root_locked(error: TpmError) -> RootLocked:
    why, cure = _CURES.get(error.kind, _OTHERWISE)
    return RootLocked(f"{why}: {error}. {cure}")
