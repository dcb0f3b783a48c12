"""Adding and removing disks of a VM, at its host; the VM is powered off.

Adding: 1. the disk's file is written whole, under its own DEK  2. the configuration names it, in
one write. Removing: 1. the configuration is written without it  2. its file is emptied. A crash in
between leaves a file that no configuration names; it is emptied when the VM is opened next.

Both need the key of the VM's home, but no disk's key: a disk whose key is lost can be removed, and
the rest of the VM starts again (LOCK-03).
"""

from __future__ import annotations

import msgspec

from protocol.crypto.disk import DEK_SIZE
from protocol.errors import (
    DatastoreFault,
    EncryptionKeyRequired,
    InvalidState,
    ResourceInUse,
)
from protocol.messages.host import DISKS_LIMIT, HostAddDisk
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, VmName
from services.esxi.host import EsxiHost
from services.esxi.keys import search
from services.esxi.providers import key_creation
from services.esxi.vms.encrypt import usable_kek
from services.esxi.vms.files import (
    empty_unused_files,
    hold_lock,
    read_config,
    write_config,
    write_file,
)
from services.esxi.vms.guest import disk_image, fresh_blocks
from services.esxi.vms.snapshots import check_no_snapshots
from services.esxi.vms.vm import RegisteredVm
from services.esxi.vms.vmx import (
    FIRST_DISK,
    DiskConfig,
    VmConfig,
    check_size,
    open_home,
    open_seed,
    wrap_dek,
)


async def add_disk(host: EsxiHost, message: HostAddDisk) -> RegisteredVm:
    """See ``HostAddDisk``; no change when that operation has added its disk already."""
    vm = host.require_powered_off(message.vm, "its disks are changed while powered off")
    check_size(message.blocks)
    async with hold_lock(host.datastore, vm.name):
        config = await read_config(host.datastore, vm.name)
        if all(disk.operation != message.operation_id for disk in config.disks):
            config = await _write_disk(host, config, message)
        vm.config, vm.problem = config, ""
        await empty_unused_files(host.datastore, config)
    return vm


async def _write_disk(host: EsxiHost, config: VmConfig, message: HostAddDisk) -> VmConfig:
    check_no_snapshots(config, "add a disk")
    if len(config.disks) >= DISKS_LIMIT:
        raise ResourceInUse(f"{config.vm} has {DISKS_LIMIT} disks")
    if config.home is None and (message.key, message.provider) != (None, None):
        raise InvalidState(f"{config.vm} is not encrypted: a disk of it cannot be")
    home = await _unwrap_home(host, config)
    disk = DiskConfig(
        key=max((there.key for there in config.disks), default=FIRST_DISK - 1) + 1,
        blocks=message.blocks,
        serial=config.serial + 1,
        operation=message.operation_id,
    )
    dek = None
    if config.home is not None:
        key = message.key or config.home.key
        if message.key is None and message.provider is not None:
            key = await key_creation.new_key(host, message.provider)
        dek, kek = KeyMaterial(host.rng.token(DEK_SIZE)), usable_kek(host, config.vm, key)
        wrapped = wrap_dek(config.vm, disk.key, dek, key, kek, host.rng)
        disk = msgspec.structs.replace(disk, dek=wrapped)
    made = msgspec.structs.replace(config, serial=disk.serial, disks=(*config.disks, disk))
    image = disk_image(dek, fresh_blocks(disk, open_seed(config, home)))
    try:
        await write_file(host.datastore, config.vm, disk.file, image)
        await write_config(host.datastore, made)
    except DatastoreFault:
        await empty_unused_files(host.datastore, await read_config(host.datastore, config.vm))
        raise
    told = None if disk.dek is None else str(disk.dek.key)
    host.node.record("vm.disk_added", vm=config.vm, disk=disk.label, key=told)
    return made


async def remove_disk(host: EsxiHost, name: VmName, number: int) -> RegisteredVm:
    """See ``HostRemoveDisk``; no change when the VM has no disk of that number."""
    vm = host.require_powered_off(name, "its disks are changed while powered off")
    async with hold_lock(host.datastore, name):
        config = await read_config(host.datastore, name)
        left = tuple(disk for disk in config.disks if disk.number != number)
        if len(left) != len(config.disks):
            if not left:
                raise InvalidState(f"Hard disk {number} is the only one of {name}")
            check_no_snapshots(config, "remove a disk")
            await _unwrap_home(host, config)
            config = msgspec.structs.replace(config, disks=left)
            await write_config(host.datastore, config)
            host.node.record("vm.disk_removed", vm=name, disk=f"Hard disk {number}")
        vm.config, vm.problem = config, ""
        await empty_unused_files(host.datastore, config)
    return vm


async def _unwrap_home(host: EsxiHost, config: VmConfig) -> KeyMaterial | None:
    """The DEK of the VM's home, without which its configuration is not changed (LOCK-02)."""
    if config.home is None:
        return None
    key: CryptoKeyId = config.home.key
    await search.bring_keys(host, (key,), subject=config.vm, ask=False)
    kek = host.keys.get(key)
    if kek is None:
        raise EncryptionKeyRequired(f"{config.vm}: a key left the cache", (key,))
    return open_home(config, {key: kek})
