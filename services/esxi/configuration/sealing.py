"""How the config key is protected: created, sealed again, opened (CFG, POL and REC rules).

Mode TPM: sealed under PolicyPCR, and wrapped under the recovery key. Mode NONE: derived from
material beside it, so everyone with access to the boot device can read the configuration (CFG-03).
"""

from __future__ import annotations

import msgspec

from protocol.crypto.derive import derive_key
from protocol.secret import KeyMaterial
from protocol.terms import ProtectionMode
from protocol.tpm.errors import TpmError, TpmErrorKind
from protocol.tpm.quote import policy_pcr_digest
from protocol.tpm.structures import PcrSelection, SealedBlob
from services.esxi.configuration.archive import CONFIG_KEY_SIZE, ConfigurationProtection
from services.esxi.configuration.sections import RecoveryKey, wrap_config_key
from services.esxi.measured_boot import sealing_selection
from services.runtime.ports import Rng, Tpm

_TRIES = 3  # a TPM may answer that the command must be repeated


def create_unprotected_key(rng: Rng) -> tuple[ConfigurationProtection, KeyMaterial]:
    """Mode NONE: new material and the config key derived from it."""
    material = rng.token(CONFIG_KEY_SIZE)
    return ConfigurationProtection(mode=ProtectionMode.NONE, material=material), derive_config_key(
        material
    )


def derive_config_key(material: bytes) -> KeyMaterial:
    """The config key of mode NONE."""
    return derive_key(KeyMaterial(material), salt=b"", info=b"keystead config key, mode NONE")


async def seal_config_key(
    tpm: Tpm,
    rng: Rng,
    config_key: KeyMaterial,
    recovery: RecoveryKey,
    *,
    seal_pcrs: tuple[int, ...],
    require_secure_boot: bool,
    require_exec_installed_only: bool,
) -> ConfigurationProtection:
    """Mode TPM: ``config_key`` sealed to this TPM and the PCR values of this boot.

    ``TpmError`` when the TPM cannot be used.
    """
    selection = sealing_selection(
        seal_pcrs,
        require_secure_boot=require_secure_boot,
        require_exec_installed_only=require_exec_installed_only,
    )
    return ConfigurationProtection(
        mode=ProtectionMode.TPM,
        require_secure_boot=require_secure_boot,
        require_exec_installed_only=require_exec_installed_only,
        pcrs=selection.pcrs,
        sealed=await _seal(tpm, config_key, selection),
        recovery_id=recovery.recovery_id,
        recovery_wrapped=wrap_config_key(recovery, config_key, rng),
    )


def with_recovery(
    protection: ConfigurationProtection, recovery: RecoveryKey, config_key: KeyMaterial, rng: Rng
) -> ConfigurationProtection:
    """The same protection with another recovery key; the old one stops working (REC-02)."""
    return msgspec.structs.replace(
        protection,
        recovery_id=recovery.recovery_id,
        recovery_wrapped=wrap_config_key(recovery, config_key, rng),
    )


async def unseal(tpm: Tpm, protection: ConfigurationProtection) -> KeyMaterial:
    """The config key from the TPM; ``TpmError`` when it refuses."""
    if protection.sealed is None:
        raise ValueError("nothing is sealed in mode NONE")
    for attempt in range(_TRIES):
        try:
            await tpm.ensure_srk()
            secret = await tpm.unseal(protection.sealed, PcrSelection(protection.pcrs))
            return KeyMaterial(secret)
        except TpmError as error:
            if error.kind is not TpmErrorKind.RETRY or attempt == _TRIES - 1:
                raise
    raise AssertionError("unreachable")


async def _seal(tpm: Tpm, config_key: KeyMaterial, selection: PcrSelection) -> SealedBlob:
    await tpm.ensure_srk()
    policy = policy_pcr_digest(selection, await tpm.pcrs(selection))
    return await tpm.seal(config_key.reveal(), policy)
