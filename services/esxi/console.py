"""What the commands of ``esxcli`` do on a host. ``esxcli`` has their grammar, ``esxcli_output``
formats their results.

Each change is saved before the console prints: persistence, mode, policy, recovery key.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Final, assert_never

from protocol.errors import SaveFailed
from protocol.messages.host.session import EsxcliResult
from protocol.secret import KeyMaterial
from protocol.terms import KeyKind, PowerState, ProtectionMode
from protocol.tpm.errors import TpmError
from services.esxi.configuration.archive import CONFIG_KEY_SIZE, FOLDER, ConfigurationProtection
from services.esxi.configuration.boot_banks import BOOT_OPTIONS, load_options, save_options
from services.esxi.configuration.sealing import seal_config_key, with_recovery
from services.esxi.configuration.sections import (
    ConfigurationSection,
    RecoveryKey,
    StoredKey,
    canonical_id,
    new_recovery_key,
)
from services.esxi.esxcli import (
    AutoBackup,
    Command,
    EncryptionGet,
    EncryptionSet,
    Help,
    KernelList,
    KernelSet,
    Output,
    OutputRecord,
    PersistenceDisable,
    PersistenceEnable,
    PersistenceGet,
    RecoveryList,
    RecoveryRotate,
    TrustedBootGet,
    UsageError,
    VersionGet,
    VmProcessList,
    one,
    parse,
    render,
)
from services.esxi.host import EsxiHost
from services.esxi.keys import key_cache
from services.esxi.measured_boot import EXEC_OPTION, exec_installed_only

_FIRST_WORLD: Final = 2_100_000
NOT_TPM = "Error: The configuration of this host is not protected by a TPM (mode NONE)."


class CommandRefused(Exception):
    """The command is valid but refused; the text is shown on the console."""


async def run(host: EsxiHost, arguments: Sequence[str]) -> EsxcliResult:
    """Execute one command line. A refused one has exit code 1 and the text of the error."""
    try:
        line = parse(arguments, host.config.release)
        if isinstance(line.command, Help):
            return EsxcliResult(exit_code=0, output=line.command.text)
        output = await _execute(host, line.command)
    except (UsageError, CommandRefused) as refusal:
        host.node.record("esxcli.refused", level="warning", reason=str(refusal))
        return EsxcliResult(exit_code=1, output=str(refusal))
    except SaveFailed as failure:
        return EsxcliResult(exit_code=1, output=f"Error: {failure}")
    text = output if isinstance(output, str) else render(output, line.formatter)
    return EsxcliResult(exit_code=0, output=text)


async def _execute(host: EsxiHost, command: Command) -> Output | str:
    """The structured result, or a text, often empty, where ``esxcli`` has no structure."""
    match command:
        case PersistenceEnable():
            return await _enable_persistence(host)
        case PersistenceDisable(remove_all):
            await _disable_persistence(host, remove_all=remove_all)
        case EncryptionSet():
            await _set_encryption(host, command)
        case RecoveryRotate():
            await _rotate_recovery_key(host, command)
        case KernelSet(name, value):
            await _set_kernel_option(host, name, value)
        case AutoBackup():
            return await back_up(host)
        case KernelList(name):
            return await _list_kernel_settings(host, name)
        case _:
            return _answer_query(host, command)
    return ""


def _answer_query(
    host: EsxiHost,
    command: PersistenceGet
    | EncryptionGet
    | RecoveryList
    | VersionGet
    | VmProcessList
    | TrustedBootGet,
) -> Output:
    """The result of a query that the host answers by itself."""
    match command:
        case PersistenceGet():
            return one("KeyPersistence", ("Enabled", host.archive.now.persistence))
        case EncryptionGet():
            return _describe_encryption(host.archive.protection)
        case RecoveryList():
            key = _require_recovery_key(host)
            fields = (("Recovery ID", key.recovery_id), ("Key", key.text()))
            return Output("RecoveryKey", (OutputRecord(fields),), listed=True, table=True)
        case VersionGet():
            return _describe_version(host)
        case VmProcessList():
            return _list_processes(host)
        case TrustedBootGet():
            # DRTM is not part of this lab.
            return one(
                "TrustedBoot", ("Drtm Enabled", False), ("Tpm Present", host.tpm is not None)
            )
        case _:
            assert_never(command)


def _describe_encryption(protection: ConfigurationProtection) -> Output:
    """The result of ``system settings encryption get`` (CFG-04)."""
    return one(
        "ConfigEncryption",
        ("Mode", protection.mode.value),
        (
            "Require Executables Only From Installed VIBs",
            protection.require_exec_installed_only,
        ),
        ("Require Secure Boot", protection.require_secure_boot),
    )


def _describe_version(host: EsxiHost) -> Output:
    major, minor, update = host.config.release
    return one(
        "VersionInfo",
        ("Product", "VMware ESXi"),
        ("Version", f"{major}.{minor}.{update}"),
        ("Build", f"Releasebuild-{host.build}"),
        ("Update", str(update)),
        ("Patch", "0"),
    )


def _list_processes(host: EsxiHost) -> Output:
    """The running VMs. World ids are the lab's own: by order of registration."""
    records = tuple(
        OutputRecord(
            (
                ("World ID", _FIRST_WORLD + number),
                ("Process ID", 0),
                ("UUID", str(uuid.uuid5(uuid.NAMESPACE_DNS, vm.name))),
                ("Display Name", vm.name),
                ("Config File", f"/vmfs/volumes/{host.config.datastore}/{vm.name}/{vm.name}.vmx"),
            ),
            title=vm.name,
        )
        for number, vm in enumerate(host.vms.values())
        if vm.power is PowerState.ON
    )
    return Output("VirtualMachine", records, listed=True)


async def _list_kernel_settings(host: EsxiHost, name: str) -> Output:
    """The kernel settings that can be set here: their values now, and at the next boot."""
    if name not in ("", EXEC_OPTION):
        raise CommandRefused(f"Error: There is no kernel setting {name} on this host.")
    configured = (await load_options(host.disk) or {}).get(EXEC_OPTION, "FALSE")
    fields = (
        ("Name", EXEC_OPTION),
        ("Type", "Bool"),
        ("Configured", configured),
        ("Runtime", "TRUE" if exec_installed_only(host.options) else "FALSE"),
        ("Default", "FALSE"),
        ("Description", "Execute only programs of installed packages."),
    )
    return Output("KernelSetting", (OutputRecord(fields),), listed=True, table=True)


async def back_up(host: EsxiHost) -> str:
    """Save the configuration, all of it, now."""
    await host.archive.save()
    host.node.record("config.saved", why="command")
    return f"Saving current state in /{FOLDER}"


async def _enable_persistence(host: EsxiHost) -> str:
    """KP-02. Returns a warning where no TPM seals the configuration (KP-06), else nothing.

    ``config_save: hourly`` concerns keys only: the setting itself is saved at once.
    """
    refusal = key_cache.enable_refusal(
        tpm_present=host.tpm is not None,
        mode=host.archive.protection.mode,
        providers=host.archive.now.providers,
        native_without_tpm=host.node.knobs.kp_native_without_tpm,
    )
    if refusal is not None:
        raise CommandRefused(f"Error: {refusal}")
    was = host.archive.now
    host.archive.now = key_cache.enable_persistence(
        was, _list_persistable(host), persist_on_enable=host.node.knobs.persist_on_enable
    )
    await host.archive.save(ConfigurationSection.PERSISTENCE | host.key_sections())
    if not was.persistence:
        host.node.record("persistence.enabled", stored=len(host.archive.now.store))
        if not host.sealed_by_tpm:
            host.node.record("persistence.unprotected", level="warning", mode="NONE")
    return "" if host.sealed_by_tpm else key_cache.UNSEALED_WARNING


def _list_persistable(host: EsxiHost) -> key_cache.Storable:
    """The entries of the cache that the store may hold, and the host key if it is only in
    memory."""
    now, held = host.archive.now, list(host.keys.entries())
    if now.host_key is not None and host.host_key is not None and now.host_key not in host.keys:
        derived = bool(now.host_key_check)
        held += [] if derived else [StoredKey(now.host_key, host.host_key, KeyKind.HOST)]
    return host.storable(held)


async def _disable_persistence(host: EsxiHost, *, remove_all: bool) -> None:
    """KP-03. The keys have left the disk before the console answers."""
    was = host.archive.now
    host.archive.now = key_cache.disable_persistence(
        was, remove_all=remove_all, disable_keeps_store=host.node.knobs.disable_keeps_store
    )
    emptied = was.store is not host.archive.now.store or not len(was.store)
    await host.archive.save(
        ConfigurationSection.PERSISTENCE
        | (ConfigurationSection.KEYS if emptied else ConfigurationSection.NOTHING)
    )
    if host.archive.now is not was:
        host.node.record(
            "persistence.disabled",
            removed=len(was.store) - len(host.archive.now.store),
            stored=len(host.archive.now.store),
        )


async def _set_encryption(host: EsxiHost, wish: EncryptionSet) -> None:
    """CFG-02, POL-03 to POL-05: seal again, to this TPM, the PCRs of this boot and this policy.

    A change from mode NONE to TPM while key persistence is on stores the cached keys, as enabling
    does (C5).
    """
    old = host.archive.protection
    secure_boot, exec_only = _merge_policy(host, old, wish)
    if host.tpm is None:
        raise CommandRefused("Error: Mode TPM requires a TPM 2.0 device: this host has no TPM.")
    if not host.measured:
        raise CommandRefused("Error: The TPM cannot be used: this boot was not measured.")
    leaving_none = old.mode is ProtectionMode.NONE
    # Mode NONE derives its config key from the disk: that key protects nothing from now on.
    config_key = (
        KeyMaterial(host.rng.token(CONFIG_KEY_SIZE)) if leaving_none else host.archive.config_key
    )
    recovery = host.archive.now.recovery or new_recovery_key(host.rng)
    try:
        made = await seal_config_key(
            host.tpm,
            host.rng,
            config_key,
            recovery,
            seal_pcrs=host.node.knobs.seal_pcrs,
            require_secure_boot=secure_boot,
            require_exec_installed_only=exec_only,
        )
    except TpmError as error:
        raise CommandRefused(f"Error: The TPM cannot be used: {error.name}.") from None
    await _save_protection(host, made, config_key, recovery)
    if leaving_none and host.node.knobs.persist_on_enable:
        host.archive.now = key_cache.with_keys(host.archive.now, _list_persistable(host))
        await host.archive.save(host.key_sections())
    for record in _audit_records(old, made):
        host.node.record("audit", record=record)
    host.node.record("config.protection", mode=made.mode.value, pcrs=list(made.pcrs))


def _merge_policy(
    host: EsxiHost, old: ConfigurationProtection, wish: EncryptionSet
) -> tuple[bool, bool]:
    """The two requirements as requested, or unchanged; ``CommandRefused`` where POL-* forbids
    it."""
    if wish.mode is ProtectionMode.NONE and old.mode is ProtectionMode.TPM:
        raise CommandRefused("Error: Mode TPM cannot be undone.")
    if wish.mode is not ProtectionMode.TPM and old.mode is ProtectionMode.NONE:
        raise CommandRefused(NOT_TPM)
    on = host.node.power.firmware.secure_boot
    kept = old.require_secure_boot if old.mode is ProtectionMode.TPM else on
    secure_boot = kept if wish.require_secure_boot is None else wish.require_secure_boot
    exec_only = old.require_exec_installed_only
    if wish.require_exec_installed_only is not None:
        exec_only = wish.require_exec_installed_only
    if secure_boot and not on:
        raise CommandRefused("Error: Secure Boot is not enabled in the firmware of this host.")
    if exec_only and not exec_installed_only(host.options):
        raise CommandRefused(f"Error: The host was not booted with {EXEC_OPTION}=TRUE.")
    if exec_only and not secure_boot and host.node.knobs.reqeio_needs_reqsb:
        raise CommandRefused("Error: Requiring installed executables only requires Secure Boot.")
    return secure_boot, exec_only


def _audit_records(old: ConfigurationProtection, new: ConfigurationProtection) -> list[str]:
    """Names of the audit records of POL-05."""
    records = []
    if old.mode is not new.mode:
        records.append("configenc.tpm.enable")
    for name, was, now in (
        ("reqsb", old.require_secure_boot, new.require_secure_boot),
        ("reqeio", old.require_exec_installed_only, new.require_exec_installed_only),
    ):
        if was != now:
            records.append(f"configenc.{name}.{'enable' if now else 'disable'}")
    return records


def _require_recovery_key(host: EsxiHost) -> RecoveryKey:
    recovery = host.archive.now.recovery
    if recovery is None or host.archive.protection.mode is ProtectionMode.NONE:
        raise CommandRefused(NOT_TPM)
    return recovery


async def _rotate_recovery_key(host: EsxiHost, wish: RecoveryRotate) -> None:
    """REC-02: a new recovery key; the old one stops working."""
    old = _require_recovery_key(host)
    if wish.recovery_id and canonical_id(wish.recovery_id) != old.recovery_id:
        raise CommandRefused(f"Error: There is no recovery key {wish.recovery_id}.")
    new_id = canonical_id(wish.new_id) if wish.new_id else ""
    if new_id is None:
        raise CommandRefused(f"Error: Invalid value for option --uuid: {wish.new_id}")
    new = new_recovery_key(host.rng, new_id)
    config_key = host.archive.config_key
    made = with_recovery(host.archive.protection, new, config_key, host.rng)
    await _save_protection(host, made, config_key, new)
    host.node.record("recovery.rotated", recovery_id=new.recovery_id)


async def _save_protection(
    host: EsxiHost, made: ConfigurationProtection, config_key: KeyMaterial, recovery: RecoveryKey
) -> None:
    """Save under the new protection. If the disk fails, the old one stays in force."""
    archive = host.archive
    old = archive.protection, archive.config_key, archive.now.recovery
    archive.protect(made, config_key)
    archive.change(recovery=recovery)
    try:
        await archive.save(ConfigurationSection.RECOVERY)
    except SaveFailed:
        if archive.protection is made:
            archive.protect(old[0], old[1])
            archive.change(recovery=old[2])
        raise


async def _set_kernel_option(host: EsxiHost, name: str, value: str) -> None:
    """Set an option that the loader passes to the kernel at the next boots, which measure it."""
    if name != EXEC_OPTION or value.upper() not in ("TRUE", "FALSE"):
        raise CommandRefused(
            f"Error: Only {EXEC_OPTION} with TRUE or FALSE can be set on this host."
        )
    options = {**(await load_options(host.disk) or {}), name: value.upper()}
    try:
        await save_options(host.disk, options)
    except OSError as error:
        raise CommandRefused(
            f"Error: {BOOT_OPTIONS} could not be saved: {error.strerror}"
        ) from None
    host.node.record("kernel.option", name=name, value=value.upper())
