"""Encrypting a VM at its host: new DEKs, data rewritten, powered off.

1. read the clear disks
2. write the encrypted ones as new files
3. switch the configuration in one write
4. empty the clear files

A crash before step 3 leaves the old state whole, a crash after it the new one. If step 4 is
missing, the next opening of the VM does it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from protocol.errors import (
    DatastoreFault,
    EncryptionKeyRequired,
    InvalidArgument,
    InvalidPowerState,
    InvalidState,
)
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, HostCryptoState, ProviderId, VmName
from services.esxi.host import EsxiHost
from services.esxi.providers import key_creation
from services.esxi.vms.files import (
    empty_unused_files,
    hold_lock,
    read_config,
    write_config,
    write_file,
)
from services.esxi.vms.guest import disk_image, split_image
from services.esxi.vms.snapshots import check_no_snapshots
from services.esxi.vms.vm import RegisteredVm
from services.esxi.vms.vmx import (
    DiskConfig,
    VmConfig,
    VmKeys,
    encrypt_config,
    open_home,
    with_encrypted_disks,
)
from services.runtime.ports import Datastore


async def encrypt_vm(
    host: EsxiHost, name: VmName, key: CryptoKeyId | None, provider: ProviderId | None = None
) -> RegisteredVm:
    """Encrypt the VM ``name`` under ``key``; no change when it is encrypted under it already.

    ``key`` None: the host makes a key of ``provider`` (KEY-02), and a VM that is encrypted under a
    key of it stays unchanged; ``NotAvailable`` when that provider's keys are not made on hosts.
    ``EncryptionKeyRequired`` when this host cannot use the key, ``InvalidState`` when it is not
    safe or the VM has another key, ``InvalidPowerState`` while it runs.
    """
    vm = host.require_vm(name)
    if key is None and provider is None:
        raise InvalidArgument("key, provider: one of them must be named")
    if vm.guest is not None:
        raise InvalidPowerState(f"{name} is running: it is encrypted while powered off")
    async with hold_lock(host.datastore, name):
        config = await read_config(host.datastore, name)
        clear = config.encrypted and any(disk.dek is None for disk in config.disks)
        if clear and config.home is not None and config.home.key == key:
            check_no_snapshots(config, "encrypt its disks")
            config = await _encrypt_disks(host, config, config.home.key)
        if config.encrypted and not _is_under(config, key, provider):
            raise InvalidState(f"{name} is encrypted with {config.keys[0]} already")
        if not config.encrypted:
            check_no_snapshots(config, "encrypt it")
            key = key or await key_creation.new_key(host, provider or ProviderId(""))
            config = await _rewrite_disks(host, config, key)
        vm.config, vm.problem = config, ""
        await empty_unused_files(host.datastore, config)
    host.node.record("vm.encrypted", vm=name, key=str(config.keys[0]))
    return vm


async def _encrypt_disks(host: EsxiHost, config: VmConfig, key: CryptoKeyId) -> VmConfig:
    """Encrypt the clear disks of a VM with an encrypted home, under the key of the home
    (KEY-04)."""
    kek = usable_kek(host, config.vm, key)
    open_home(config, {key: kek})
    there = [disk.file for disk in config.disks if disk.dek is not None]
    made, keys = with_encrypted_disks(config, key, kek, host.rng)
    clear = [
        await read_disk(host.datastore, config, disk) if disk.dek is None else []
        for disk in config.disks
    ]
    await write_disks(host.datastore, made, keys, clear, there)
    await write_config(host.datastore, made)
    return made


def _is_under(config: VmConfig, key: CryptoKeyId | None, provider: ProviderId | None) -> bool:
    if key is not None:
        return config.home is not None and config.home.key == key
    return all(of.provider_id == provider for of in config.keys)


async def _rewrite_disks(host: EsxiHost, config: VmConfig, key: CryptoKeyId) -> VmConfig:
    clear = [await read_disk(host.datastore, config, disk) for disk in config.disks]
    made, keys = encrypt_config(config, key, usable_kek(host, config.vm, key), host.rng)
    await write_disks(host.datastore, made, keys, clear)
    await write_config(host.datastore, made)
    return made


async def read_disk(datastore: Datastore, config: VmConfig, disk: DiskConfig) -> list[bytes]:
    """A disk's blocks as stored on the datastore; ``DatastoreFault`` when they cannot be read."""
    try:
        image = await datastore.read(config.vm, disk.file)
    except OSError as error:
        raise DatastoreFault(f"{config.vm}: {disk.file}: {error.strerror or error}") from None
    return split_image(image, config.vm, disk)


async def write_disks(
    datastore: Datastore,
    config: VmConfig,
    keys: VmKeys,
    clear: Sequence[Sequence[bytes]],
    there: Collection[str] = (),
) -> None:
    """Write all disk files of ``config``, except those in ``there``, with these blocks under its
    DEKs; durable on return."""
    for disk, dek, blocks in zip(config.disks, keys.deks, clear, strict=True):
        if disk.file not in there:
            await write_file(datastore, config.vm, disk.file, disk_image(dek, blocks))


def usable_kek(host: EsxiHost, vm: VmName, key: CryptoKeyId) -> KeyMaterial:
    """The KEK under which this host may encrypt ``vm``.

    ``InvalidArgument`` for a reference without a key id (SC-39); ``EncryptionKeyRequired`` when the
    key is not cached, ``InvalidState`` when the host is not safe.
    """
    if not key.key_id:
        text = f"{vm}: the reference to {key.provider_id} has no key id (invalid metadata)"
        raise InvalidArgument(text)
    kek = host.keys.get(key)
    if kek is None:
        raise EncryptionKeyRequired(f"{vm}: a key is not on this host", (key,))
    if host.mode is not HostCryptoState.SAFE:
        raise InvalidState(f"{host.node.name} is {host.mode.value}, not safe")
    return kek
