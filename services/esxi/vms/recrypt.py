"""Other keys for an encrypted VM, at its host: recrypted shallowly or deeply, or decrypted.

Shallow (REK-01), also while it runs: 1. unwrap the DEKs under the old KEKs  2. wrap them under the
new one  3. write the configuration. No data is touched, and a guest goes on with the DEK it has.

Deep (REK-02) and decrypting (CLN-02), powered off: 1. read its disks  2. write them under new
DEKs, or in clear, as new files  3. write the configuration that names them  4. empty the old files.

The configuration is written in one go, so a crash leaves either keys; what lies there then is made
up for when the VM is opened next, as with encryption. A repeat finds that the VM is under other
keys than it was, and changes nothing.
"""

from __future__ import annotations

from protocol.errors import DatastoreFault, InvalidPowerState, InvalidState
from protocol.terms import CryptoKeyId, ProviderId, VmName
from services.esxi.host import Host
from services.esxi.keys import search
from services.esxi.providers import making
from services.esxi.vms.encrypt import read_disk, usable_kek, write_disks
from services.esxi.vms.files import locked, read_config, tidy, write_config
from services.esxi.vms.guest import opened_blocks
from services.esxi.vms.power import unwrapped
from services.esxi.vms.snapshots import check_none
from services.esxi.vms.vm import RegisteredVm
from services.esxi.vms.vmx import (
    VmConfig,
    VmKeys,
    decrypted_config,
    encrypted_config,
    rewrapped_config,
    with_new_files,
)
from services.esxi.vms.vtpm_device import with_moved_vtpm


async def recrypt(
    host: Host,
    name: VmName,
    old: tuple[CryptoKeyId, ...],
    key: CryptoKeyId | None,
    provider: ProviderId,
    *,
    deep: bool,
) -> RegisteredVm:
    """Put the VM, which is under the keys ``old``, under ``key``, or a key that the host makes of
    ``provider`` (KEY-02). No change when it is under others of that provider already.

    ``EncryptionKeyRequired``: an old KEK or the new one is not here (REK-05); ``InvalidState``: it
    is not encrypted, under keys that neither are ``old`` nor come of this task, or the host is not
    safe; ``InvalidPowerState``: a deep one while it runs.
    """
    vm = host.registered(name)
    if deep and vm.guest is not None:
        raise InvalidPowerState(f"{name} is running: its data is rewritten while powered off")
    if vm.guest is not None:  # the lock is held by the guest's run
        await _recrypted(host, vm, old, key, provider, deep=deep)
    else:
        async with locked(host.datastore, name):
            await _recrypted(host, vm, old, key, provider, deep=deep)
    return vm


async def _recrypted(
    host: Host,
    vm: RegisteredVm,
    old: tuple[CryptoKeyId, ...],
    key: CryptoKeyId | None,
    provider: ProviderId,
    *,
    deep: bool,
) -> None:
    config = await read_config(host.datastore, vm.name)
    if not config.encrypted:
        raise InvalidState(f"{vm.name} is not encrypted")
    if config.keys != old:
        if config.keys == (key,) or (key is None and _all_of(config, provider)):
            _show(vm, config)
            await tidy(host.datastore, config)
            return
        raise InvalidState(f"{vm.name} is under {config.keys[0]}, not under {old[0]}")
    if deep:
        check_none(config, "recrypt it deeply")
    opened = await _opened(host, config)
    if key is None:
        key = await making.new_key(host, provider)
    kek = usable_kek(host, vm.name, key)
    if deep:
        config = await _rewritten(host, config, opened, under=key)
    else:
        config = rewrapped_config(config, opened, key, kek, host.rng)
        await write_config(host.datastore, config)
    _show(vm, config)
    if deep:
        await tidy(host.datastore, config)
    host.node.record(
        "vm.recrypted", vm=vm.name, key=str(key), old=[str(each) for each in old], deep=deep
    )


def _all_of(config: VmConfig, provider: ProviderId) -> bool:
    return all(key.provider_id == provider for key in config.keys)


async def decrypt(host: Host, name: VmName) -> RegisteredVm:
    """Take the encryption off a VM that is powered off; no change when it has none.

    ``EncryptionKeyRequired`` when a key of it is not here, ``InvalidState`` of a VM with a virtual
    TPM, whose home stays encrypted (VTPM-02).
    """
    vm = host.registered(name)
    if vm.guest is not None:
        raise InvalidPowerState(f"{name} is running: it is decrypted while powered off")
    async with locked(host.datastore, name):
        config = await read_config(host.datastore, name)
        if config.vtpm is not None:
            raise InvalidState(f"{name} has a virtual TPM: remove that first")
        if config.encrypted:
            check_none(config, "decrypt it")
            config = await _rewritten(host, config, await _opened(host, config), under=None)
            host.node.record("vm.decrypted", vm=name)
        _show(vm, config)
        await tidy(host.datastore, config)
    return vm


async def _opened(host: Host, config: VmConfig) -> VmKeys:
    """The VM's DEKs, its keys looked for by every means that this host has by itself."""
    await search.bring(host, config.keys, subject=config.vm, ask=False)
    return unwrapped(host, config)


async def _rewritten(
    host: Host, config: VmConfig, opened: VmKeys, *, under: CryptoKeyId | None
) -> VmConfig:
    """Its encrypted disks as new files, under new DEKs or in clear, and then the configuration.

    ``DatastoreFault`` when there is no room for two files of each disk: the old ones stay in
    force, and what was written of the new ones is emptied.
    """
    plain = [
        opened_blocks(dek, await read_disk(host.datastore, config, disk))
        for disk, dek in zip(config.disks, opened.deks, strict=True)
    ]
    clear = decrypted_config(config, opened)
    rewritten = [disk.key for disk in config.disks if disk.dek is not None]
    there: tuple[str, ...] = tuple(disk.file for disk in config.disks if disk.dek is None)
    if under is None:
        made, keys = with_new_files(clear, rewritten), VmKeys((None,) * len(plain), b"")
    else:
        kek = usable_kek(host, config.vm, under)
        made, keys = encrypted_config(clear, under, kek, host.rng, rewritten)
    try:
        made = await with_moved_vtpm(host, made, opened.home, keys.home)
        await write_disks(host.datastore, made, keys, plain, there)
        await write_config(host.datastore, made)
    except DatastoreFault:
        await tidy(host.datastore, await read_config(host.datastore, config.vm))
        raise
    return made


def _show(vm: RegisteredVm, config: VmConfig) -> None:
    vm.config, vm.problem = config, ""
    if vm.guest is not None:
        vm.guest.config = config
