"""The boot of a host (B0 to B9), step by step.

Only B0 to B3 can stop it, with a purple screen (BOOT-01). The first boot of an installation, or of
another release of it, has additional steps (CFG-01, UPG-01).
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

import msgspec

from protocol.errors import CryptographicFailure, InvalidState, ProductError, SaveFailed
from protocol.releases import Feature, has, release_of
from protocol.secret import KeyMaterial
from protocol.terms import HostCryptoState, KeyKind, ProtectionMode
from protocol.tpm.errors import TpmError
from services.esxi.configuration import boot_banks
from services.esxi.configuration.archive import (
    CONFIG_KEY_SIZE,
    FILE,
    INDEX,
    Archive,
    ConfigurationProtection,
    find_rollback,
    raise_to,
    read_protection,
    unpack,
)
from services.esxi.configuration.boot_banks import load_options
from services.esxi.configuration.sealing import (
    create_unprotected_key,
    derive_config_key,
    seal_config_key,
    unseal,
)
from services.esxi.configuration.sections import (
    Configuration,
    ConfigurationSection,
    RecoveryKey,
    new_recovery_key,
    parse_digits,
    unwrap_config_key,
)
from services.esxi.crypto_manager import forget_host_key
from services.esxi.crypto_mode import state_after_boot
from services.esxi.ha.agent import HaAgent
from services.esxi.host import EsxiHost
from services.esxi.keys.key_cache import usable_keys
from services.esxi.measured_boot import RECOVERY_OPTION, measurements
from services.esxi.providers import native
from services.esxi.providers.trusted import keys
from services.esxi.vms import ownership, power, registration
from services.esxi.vsan import mounting, objects
from services.runtime.durable import read_counter
from services.runtime.ports import Tpm
from services.runtime.service import Halted

SCREEN_A: Final = "Unable to restore the system configuration. A security violation was detected."
SCREEN_B: Final = "Failed to decrypt system configuration"
SCREEN_C: Final = "Unable to recover the system configuration"


def record_halt(host: EsxiHost, screen: str, reason: str) -> Halted:
    """Record the reason; the screen shows only the product's text."""
    host.node.record("boot.stopped", level="error", screen=screen, reason=reason)
    return Halted(screen)


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


async def boot(host: EsxiHost) -> None:
    """B0 to B7; ``Halted`` with one of the three screens. B8 and B9 run afterwards."""
    await _boot_other_bank(host)
    await _start_firmware(host)  # B0
    await _measure_boot(host)  # B1
    image = await _read_archive(host)
    if image is None:
        if host.node.boot > 1:
            host.node.record("boot.no_archive", level="warning", boot=host.node.boot)
        await first_boot(host)
    else:
        protection, config_key = await _find_config_key(host, image)  # B2
        count = _open_configuration(host, image, protection, config_key)  # B3
        await _check_last_archive(host, protection.mode, count)
        await upgrade(host, image)
    host.datastore = await host.disk.datastore(host.config.datastore)
    await registration.load_vms(host)
    await _load_keys(host)  # B4
    await _set_encryption_mode(host)  # B5
    await _record_step(host, "B6", await mounting.mount_at_boot(host))
    await _regain_host_key(host)  # B7


async def boot_while_serving(host: EsxiHost, ha: HaAgent) -> None:
    """B8 and B9, while the host serves. vCenter may be down: B9 does not wait for it."""
    await _record_step(host, "B8", f"announce to {host.config.vcenter or 'nobody'}")
    host.node.background("uplink", host.uplink.keep_connected())
    await ha.begin()
    await registration.empty_all_unused_files(host)
    host.node.record("boot.step", step="B9", text="autostart")
    await ownership.start_wanted_vms(host)


def start_loops(host: EsxiHost, ha: HaAgent) -> None:
    """Start the loops that run for the rest of this life."""
    host.node.background("boot", boot_while_serving(host, ha))
    host.node.background("config.backup", _run_backups(host))
    host.node.background("workload", power.run_workload(host))
    if host.config.vsan is not None:
        host.node.background("vsan.resync", objects.run_resync(host))
    if host.archive.now.trusted is not None:
        keys.start_retries(host)


async def shut_down_tpm(host: EsxiHost) -> None:
    """The last step of an orderly stop; a failed TPM does not prevent it."""
    if host.tpm is not None:
        try:
            await host.tpm.power_off(orderly=True)
        except TpmError as error:
            host.node.record("tpm.unusable", level="warning", reason=str(error))


async def _boot_other_bank(host: EsxiHost) -> None:
    """If the administrator asked for it, boot the other boot bank. The configuration of the first
    bank is gone then (UPG-02)."""
    if host.node.power.firmware.banks.rolled_back:
        try:
            done = await boot_banks.restore_bank(host.disk, host.config.version)
        except boot_banks.BankDamaged:
            raise record_halt(host, SCREEN_B, "the other boot bank is damaged") from None
        if done:
            host.node.record("boot.step", step="B0", text="other boot bank")


async def _start_firmware(host: EsxiHost) -> None:
    """B0: power, firmware set-up, options kept by the loader and typed at it."""
    await host.clock.sleep(host.node.knobs.boot_step_s)
    kept = await load_options(host.disk)
    if kept is None:
        host.node.record("boot.options_damaged", level="warning")
    host.options = {**(kept or {}), **host.node.power.boot_options}
    firmware = host.node.power.firmware
    host.node.record(
        "boot.step",
        step="B0",
        text="firmware",
        secure_boot=firmware.secure_boot,
        tpm=host.tpm is not None,
        options=sorted(host.options),
    )


async def _measure_boot(host: EsxiHost) -> None:
    """B1: measure firmware, loader, modules and options. A TPM that fails is not used in this
    life."""
    events = measurements(host.node.power.firmware, host.config.version, host.build, host.options)
    if host.tpm is not None:
        try:
            await host.tpm.power_on()
            host.event_log = await host.tpm.extend_log(events)
        except TpmError as error:
            reason = "; ".join((str(error), *getattr(error, "__notes__", ())))
            host.node.record("tpm.unusable", level="warning", reason=reason)
            host.problems.record_unusable_tpm(error)
    host.node.record("boot.step", step="B1", text="measured", events=len(events))


async def _read_archive(host: EsxiHost) -> bytes | None:
    try:
        return await host.disk.read(FILE)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise record_halt(
            host, SCREEN_B, f"the archive cannot be read: {error.strerror or error}"
        ) from None


async def _find_config_key(
    host: EsxiHost, image: bytes
) -> tuple[ConfigurationProtection, KeyMaterial]:
    """B2: the recovery key when one was typed, else the TPM, else the material on disk."""
    try:
        protection = read_protection(image)
    except CryptographicFailure as damage:
        raise record_halt(host, SCREEN_B, str(damage)) from None
    typed = host.options.get(RECOVERY_OPTION)
    if typed is not None:
        config_key = _recover_config_key(host, protection, typed)
    elif protection.mode is ProtectionMode.NONE:
        config_key = derive_config_key(protection.material)
    else:
        config_key = await _unseal_config_key(host, protection)
    way = "recovery key" if typed is not None else protection.mode.value
    host.node.record("boot.step", step="B2", text="config key", way=way)
    return protection, config_key


def _recover_config_key(
    host: EsxiHost, protection: ConfigurationProtection, typed: str
) -> KeyMaterial:
    digits = parse_digits(typed)
    if digits is None or not protection.recovery_wrapped:
        raise record_halt(host, SCREEN_C, "the recovery key cannot be used")
    try:
        return unwrap_config_key(digits, protection.recovery_id, protection.recovery_wrapped)
    except CryptographicFailure:
        raise record_halt(host, SCREEN_B, "the recovery key is not the one in force") from None


async def _unseal_config_key(host: EsxiHost, protection: ConfigurationProtection) -> KeyMaterial:
    """The config key from the TPM. Screen A when the policy is not met, or the TPM was cleared,
    replaced, locked out or failed."""
    if host.tpm is None:
        raise record_halt(host, SCREEN_A, "there is no TPM, but the configuration is sealed by one")
    try:
        return await unseal(host.tpm, protection)
    except TpmError as error:
        raise record_halt(host, SCREEN_A, str(error)) from None


def _open_configuration(
    host: EsxiHost, image: bytes, protection: ConfigurationProtection, config_key: KeyMaterial
) -> int:
    """B3: open the last saved configuration. Returns the number of that save too (``rollback``)."""
    try:
        found = unpack(image, config_key)
    except CryptographicFailure as failure:
        raise record_halt(host, SCREEN_B, str(failure)) from None
    header = msgspec.structs.replace(protection, count=found.count)
    host.archive = Archive.reopen(
        host.disk, host.rng, header, config_key, found, counter=counter(host)
    )
    if found.torn:
        host.node.record("config.torn", level="warning", rest=len(image) - found.size)
    saved = found.configuration
    host.node.record(
        "boot.step", step="B3", text="configuration", stored=len(saved.store), vms=len(saved.vms)
    )
    return found.count


async def _check_last_archive(host: EsxiHost, mode: ProtectionMode, count: int) -> None:
    """Stop at an archive that is not the last one, if the knob ``archive_counter`` says so.

    With the recovery key the administrator accepts the archive as it is; the next save counts it
    again.
    """
    tpm = counter(host)
    if tpm is None or mode is ProtectionMode.NONE or RECOVERY_OPTION in host.options:
        return
    try:
        found = await read_counter(tpm, INDEX)
        why = find_rollback(count, found)
        if not why and found is not None:
            await raise_to(tpm, count)
    except TpmError as error:
        raise record_halt(host, SCREEN_A, str(error)) from None
    if why:
        raise record_halt(host, SCREEN_B, why)


async def _load_keys(host: EsxiHost) -> None:
    """B4: the cache is empty; load the persisted keys, if persistence is enabled (KP-07)."""
    await host.clock.sleep(host.node.knobs.boot_step_s)
    entries = usable_keys(host.archive.now)
    loaded = host.keys.load(entries)
    if loaded:
        host.node.record("keys.loaded", keys=[str(entry.key) for entry in entries])
    host.node.record("boot.step", step="B4", text="keys", loaded=loaded)


async def _set_encryption_mode(host: EsxiHost) -> None:
    """B5: safe if the host key is available, else prepared or unchanged."""
    await host.clock.sleep(host.node.knobs.boot_step_s)
    if host.mode is HostCryptoState.PENDING_INCAPABLE:
        forget_host_key(host)
    now = host.archive.now
    host.host_key = _find_host_key(host)
    mode = state_after_boot(now.crypto_state, host_key_at_hand=host.host_key is not None)
    if mode is not now.crypto_state:
        host.archive.change(crypto_state=mode)
        try:
            await host.archive.save(ConfigurationSection.CRYPTO | ConfigurationSection.KEYS)
        except ProductError as error:
            host.node.record("config.save_failed", level="warning", reason=str(error))
    host.node.record("boot.step", step="B5", text="encryption mode", crypto_state=mode.value)


def _find_host_key(host: EsxiHost) -> KeyMaterial | None:
    """The host key of the configuration: loaded at B4, or derived now (NKP-11).

    A derived key with another check value is not the host key: the KDK has changed (NKP-18).
    """
    now = host.archive.now
    if now.host_key is None:
        return None
    if now.host_key in host.keys or not now.host_key_check:
        return host.keys.get(now.host_key)
    try:
        value = native.derive_host_key(host, now.host_key, now.host_key_check)
    except InvalidState as error:
        host.node.record("host_key.not_derived", level="warning", reason=str(error))
        return None
    native.bring_key(host, now.host_key, KeyKind.HOST)
    return value


async def _regain_host_key(host: EsxiHost) -> None:
    """B7: a trusted host that needs its host key attests, and has a Key Provider Service unwrap
    it."""
    if host.archive.now.trusted is None:
        await _record_step(host, "B7", "no trusted key provider on this host")
        return
    safe = await keys.regain_host_key(host)
    await _record_step(host, "B7", "host key at hand" if safe else "no host key")


async def _record_step(host: EsxiHost, step: str, text: str) -> None:
    await host.clock.sleep(host.node.knobs.boot_step_s)
    host.node.record("boot.step", step=step, text=text)


async def _run_backups(host: EsxiHost) -> None:
    """DUR-01: the scheduled backup; if the disk fails, the next interval repeats it.

    The first one runs at once: it makes durable what the life before wrote without a sync, because
    this life reports those keys as stored and vCenter does not send them again.
    """
    with suppress(SaveFailed):  # the next save stores it
        await host.archive.save(ConfigurationSection.NOTHING)
    async for _ in host.clock.every(host.node.knobs.config_save_period_s):
        if host.archive.dirty:
            try:
                await host.archive.save()
            except ProductError as error:
                host.node.record("config.save_failed", level="warning", reason=str(error))
            else:
                host.node.record("config.saved", why="hourly")
