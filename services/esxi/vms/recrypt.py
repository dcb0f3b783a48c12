"""Other keys for an encrypted VM, at its host: shallow or deep recrypt, or decryption.

Shallow (REK-01), also while it runs: 1. unwrap the DEKs under the old KEKs  2. wrap them under the
new one  3. write the configuration. No data is touched, and a guest continues with its DEK.

Deep (REK-02) and decryption (CLN-02), powered off: 1. read its disks  2. write them under new DEKs,
or in clear, as new files  3. write the configuration that names them  4. empty the old files.

The configuration is written in one write, so a crash leaves either keys; the next opening of the VM
cleans up, as after encryption. A repeat finds that the VM has other keys than before, and changes
nothing.

One disk alone may be recrypted too: the home and the other disks keep their keys, all of which are
needed nevertheless.
"""

from __future__ import annotations

from protocol.errors import DatastoreFault, InvalidPowerState, InvalidState
from protocol.messages.host import HostRecryptVm
from protocol.terms import CryptoKeyId, VmName
from services.esxi.host import EsxiHost
from services.esxi.keys import search
from services.esxi.providers import key_creation
from services.esxi.vms.encrypt import read_disk, usable_kek, write_disks
from services.esxi.vms.files import empty_unused_files, hold_lock, read_config, write_config
from services.esxi.vms.guest import decrypt_blocks
from services.esxi.vms.power import unwrap_deks
from services.esxi.vms.snapshots import check_no_snapshots
from services.esxi.vms.vm import RegisteredVm
from services.esxi.vms.vmx import (
    DiskConfig,
    VmConfig,
    VmKeys,
    decrypt_config,
    encrypt_config,
    rewrap_config,
    with_new_deks,
    with_new_files,
)
from services.esxi.vms.vtpm_device import move_vtpm


async def recrypt_vm(host: EsxiHost, message: HostRecryptVm) -> RegisteredVm:
    """See ``HostRecryptVm``. ``EncryptionKeyRequired`` names keys that are not here (REK-05)."""
    vm = host.require_vm(message.vm)
    if message.deep and vm.guest is not None:
        raise InvalidPowerState(f"{vm.name} is running: its data is rewritten while powered off")
    if vm.guest is not None:  # the guest's run holds the lock
        await _recrypt_locked(host, vm, message)
    else:
        async with hold_lock(host.datastore, vm.name):
            await _recrypt_locked(host, vm, message)
    return vm


async def _recrypt_locked(host: EsxiHost, vm: RegisteredVm, message: HostRecryptVm) -> None:
    config = await read_config(host.datastore, vm.name)
    if not config.encrypted:
        raise InvalidState(f"{vm.name} is not encrypted")
    only = None if message.disk is None else _require_encrypted_disk(config, message.disk).key
    if config.keys != message.old:
        if not _is_done(config, message):
            now, then = config.keys[0], message.old[0]
            raise InvalidState(f"{vm.name} is under {now}, not under {then}")
        _use_config(vm, config)
        await empty_unused_files(host.datastore, config)
        return
    if message.deep:
        check_no_snapshots(config, "recrypt it deeply")
    opened = await _find_and_unwrap_deks(host, config)
    key = message.key or await key_creation.new_key(host, message.provider)
    kek = usable_kek(host, vm.name, key)
    if message.deep:
        config = await _rewrite_disks(host, config, opened, under=key, only=only)
    else:
        disks = None if only is None else (only,)
        config = rewrap_config(config, opened, key, kek, host.rng, disks)
        await write_config(host.datastore, config)
    _use_config(vm, config)
    if message.deep:
        await empty_unused_files(host.datastore, config)
    host.node.record(
        "vm.recrypted",
        vm=vm.name,
        key=str(key),
        old=[str(each) for each in message.old],
        deep=message.deep,
        disk=message.disk,
    )


def _require_encrypted_disk(config: VmConfig, number: int) -> DiskConfig:
    disk = config.disk(number)
    if disk.dek is None:
        raise InvalidState(f"{disk.label} of {config.vm} is not encrypted")
    return disk


def _is_done(config: VmConfig, message: HostRecryptVm) -> bool:
    """Whether the keys, which have changed, are the ones that this task sets."""
    keys = config.keys
    if message.disk is not None:
        dek = config.disk(message.disk).dek
        keys = () if dek is None else (dek.key,)
    if message.key is not None:
        return keys == (message.key,)
    return all(key.provider_id == message.provider for key in keys)


async def decrypt_vm(host: EsxiHost, name: VmName) -> RegisteredVm:
    """Decrypt a powered-off VM; no change when it is not encrypted.

    ``EncryptionKeyRequired`` when a key of it is not here. ``InvalidState`` for a VM with a virtual
    TPM, whose home must stay encrypted (VTPM-02).
    """
    vm = host.require_powered_off(name, "it is decrypted while powered off")
    async with hold_lock(host.datastore, name):
        config = await read_config(host.datastore, name)
        if config.vtpm is not None:
            raise InvalidState(f"{name} has a virtual TPM: remove that first")
        if config.encrypted:
            check_no_snapshots(config, "decrypt it")
            config = await _rewrite_disks(
                host, config, await _find_and_unwrap_deks(host, config), under=None
            )
            host.node.record("vm.decrypted", vm=name)
        _use_config(vm, config)
        await empty_unused_files(host.datastore, config)
    return vm


async def _find_and_unwrap_deks(host: EsxiHost, config: VmConfig) -> VmKeys:
    """The VM's DEKs, its keys looked for by every means of this host alone."""
    await search.bring_keys(host, config.keys, subject=config.vm, ask=False)
    return unwrap_deks(host, config)


async def _rewrite_disks(
    host: EsxiHost,
    config: VmConfig,
    opened: VmKeys,
    *,
    under: CryptoKeyId | None,
    only: int | None = None,
) -> VmConfig:
    """Write its encrypted disks as new files, under new DEKs or in clear, and then the
    configuration. ``only``: the device key of the one disk to rewrite; the home stays unchanged
    then.

    ``DatastoreFault`` when there is no room for two files of each disk: the old ones stay in force,
    and the written new ones are emptied.
    """
    rewritten = [d.key for d in config.disks if d.dek is not None and only in (None, d.key)]
    plain = [
        decrypt_blocks(dek, await read_disk(host.datastore, config, disk))
        if disk.key in rewritten
        else []
        for disk, dek in zip(config.disks, opened.deks, strict=True)
    ]
    there: tuple[str, ...] = tuple(d.file for d in config.disks if d.key not in rewritten)
    kek = None if under is None else usable_kek(host, config.vm, under)
    if under is None or kek is None:
        made = with_new_files(decrypt_config(config, opened), rewritten)
        keys = VmKeys((None,) * len(plain), b"")
    elif only is not None:
        made, keys = with_new_deks(config, under, kek, host.rng, rewritten)
    else:
        clear = decrypt_config(config, opened)
        made, keys = encrypt_config(clear, under, kek, host.rng, rewritten)
    try:
        if only is None:
            made = await move_vtpm(host, made, opened.home, keys.home)
        await write_disks(host.datastore, made, keys, plain, there)
        await write_config(host.datastore, made)
    except DatastoreFault:
        await empty_unused_files(host.datastore, await read_config(host.datastore, config.vm))
        raise
    return made


def _use_config(vm: RegisteredVm, config: VmConfig) -> None:
    vm.config, vm.problem = config, ""
    if vm.guest is not None:
        vm.guest.config = config
