"""The first boot of an installation, and that of another release of it (CFG-01, UPG-01)."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.errors import SaveFailed
from protocol.releases import Feature, has, release_of
from protocol.secret import KeyMaterial
from protocol.tpm.errors import TpmError
from services.esxi.configuration import boot_banks
from services.esxi.configuration.archive import Archive
from services.esxi.configuration.image import CONFIG_KEY_SIZE, ConfigurationProtection
from services.esxi.configuration.recovery import RecoveryKey, new_recovery_key
from services.esxi.configuration.sealing import create_unprotected_key, seal_config_key
from services.esxi.configuration.sections import Configuration
from services.esxi.host import EsxiHost
from services.esxi.screens import SCREEN_B, record_halt
from services.runtime.ports import Tpm


async def first_boot(host: EsxiHost) -> None:
    """The first boot of an installation (CFG-01): a config key, sealed if possible, and an empty
    configuration.

    Nothing is sealed when the TPM could not measure the boot, nor by a release before 7.0 U2.
    """
    protection, config_key = create_unprotected_key(host.rng)
    configuration = Configuration(release=host.config.version)
    if (sealed := await _seal_new_key(host)) is not None:
        protection, config_key, recovery = sealed
        configuration = Configuration(release=host.config.version, recovery=recovery)
    host.archive = Archive(
        host.disk, host.rng, protection, config_key, configuration, counter=counter(host)
    )
    await host.archive.save()
    host.node.record("boot.step", step="B2", text="first boot", mode=protection.mode.value)
    host.node.record("boot.step", step="B3", text="empty configuration")


async def upgrade(host: EsxiHost, image: bytes) -> None:
    """The first boot of another release. The files that the earlier release booted from go into the
    other boot bank. A release that encrypts the configuration does so by itself (UPG-01).

    A failing disk does not stop the boot: the configuration stays as it was until the next boot.
    """
    archive = host.archive
    now, before = archive.now, (archive.protection, archive.config_key)
    if now.release == host.config.version:
        return
    if now.release and release_of(now.release) > release_of(host.config.version):
        raise record_halt(host, SCREEN_B, f"the configuration is of a later release, {now.release}")
    changes: dict[str, Any] = {"release": host.config.version}
    clear = bool(now.release) and not has(release_of(now.release), Feature.CONFIGURATION_ENCRYPTION)
    if clear and (sealed := await _seal_new_key(host)) is not None:
        protection, config_key, changes["recovery"] = sealed
        archive.protect(protection, config_key)
    archive.now = msgspec.structs.replace(now, **changes)
    try:
        if now.release:
            await boot_banks.store_bank(host.disk, now.release, image)
        await archive.save()
    except (SaveFailed, OSError) as error:
        archive.now = now
        archive.protect(*before)
        host.node.record("config.save_failed", level="warning", reason=str(error))
    else:
        host.node.record("boot.step", step="B3", text="upgraded", mode=archive.protection.mode)


def counter(host: EsxiHost) -> Tpm | None:
    """The TPM that counts archives, if the knob asks for it."""
    return host.tpm if host.node.knobs.archive_counter else None


async def _seal_new_key(
    host: EsxiHost,
) -> tuple[ConfigurationProtection, KeyMaterial, RecoveryKey] | None:
    """A new config key, sealed, with its recovery key; None when nothing can be sealed (CFG-01).

    If Secure Boot is on now, it must be on to unseal (POL-01).
    """
    if (
        not host.config.has(Feature.CONFIGURATION_ENCRYPTION)
        or host.tpm is None
        or not host.measured
    ):
        return None
    recovery = new_recovery_key(host.rng)
    config_key = KeyMaterial(host.rng.token(CONFIG_KEY_SIZE))
    try:
        protection = await seal_config_key(
            host.tpm,
            host.rng,
            config_key,
            recovery,
            seal_pcrs=host.node.knobs.seal_pcrs,
            require_secure_boot=host.node.power.firmware.secure_boot,
            require_exec_installed_only=False,
        )
    except TpmError as error:
        host.node.record("tpm.unusable", level="warning", reason=str(error))
        host.problems.record_unusable_tpm(error)
        return None
    return protection, config_key, recovery
