"""Snapshots of a VM at its host: whole copies of its disks and of its virtual TPM's state.

The copies are the files' bytes, so they are under the DEKs of the VM. A shallow recrypt, which
rewraps the DEKs, therefore covers the snapshots too. Changes that would give a disk another DEK are
refused while there are snapshots (REK-02, CLN-02). The memory of a running VM can be kept too, in a
file under the home's DEK (``vmem``); the VM's turn is held, so it is of the same instant as the
disks.

Creating: 1. write the copies, 2. write the configuration that names them. Removing: 1. write the
configuration, 2. empty the copies. A crash in between leaves files that no configuration names;
they are emptied when the VM is opened next. ``revert`` is the way back.
"""

from __future__ import annotations

import msgspec

from protocol import names
from protocol.errors import (
    DatastoreFault,
    EncryptionKeyRequired,
    InvalidState,
    ResourceInUse,
)
from protocol.messages.host import SNAPSHOTS_LIMIT, HostCreateSnapshot
from protocol.secret import KeyMaterial
from protocol.terms import VmName
from services.esxi.host import EsxiHost
from services.esxi.keys import search
from services.esxi.vms import vmem
from services.esxi.vms.files import (
    empty_unused_files,
    hold_lock,
    read_config,
    write_config,
    write_file,
)
from services.esxi.vms.memory import pack_memory
from services.esxi.vms.nvram import nvram_file
from services.esxi.vms.vm import RegisteredVm
from services.esxi.vms.vmx import VmConfig, VmSnapshot, disk_file, open_home


def check_no_snapshots(config: VmConfig, what: str) -> None:
    """``InvalidState`` when the VM has snapshots, whose disks are under its DEKs."""
    if config.snapshots:
        found = ", ".join(one.name for one in config.snapshots[:5])
        raise InvalidState(f"{config.vm} has snapshots ({found}): remove them to {what}")


async def create_snapshot(host: EsxiHost, message: HostCreateSnapshot) -> RegisteredVm:
    """See ``HostCreateSnapshot``."""
    names.SNAPSHOT.check(message.snapshot)
    vm = host.require_vm(message.vm)
    if vm.guest is not None:  # the guest's run holds the lock, the caller the turn
        await _create_locked(host, vm, message)
    else:
        async with hold_lock(host.datastore, vm.name):
            await _create_locked(host, vm, message)
    return vm


async def _create_locked(host: EsxiHost, vm: RegisteredVm, message: HostCreateSnapshot) -> None:
    config = await read_config(host.datastore, vm.name)
    if any(one.name == message.snapshot for one in config.snapshots):
        use_config(vm, config)
        return
    if len(config.snapshots) >= SNAPSHOTS_LIMIT:
        raise ResourceInUse(f"{vm.name} has {SNAPSHOTS_LIMIT} snapshots")
    home = await unwrap_home(host, config)
    memory = None
    if message.memory and vm.guest is not None:
        memory = pack_memory(vm.guest.freeze())
    made = _with_next(config, message.snapshot, memory=memory is not None)
    taken = made.snapshots[-1]
    try:
        for disk, kept in zip(config.disks, taken.serials, strict=True):
            await copy_file(host, config, disk.file, disk_file(kept))
        if config.vtpm is not None:
            there = nvram_file(config.vm, config.vtpm.serial)
            await copy_file(host, config, there, nvram_file(config.vm, taken.vtpm))
        if memory is not None:
            data = vmem.pack_vmem(config.vm, taken.name, taken.memory, memory, home, host.rng)
            await write_file(
                host.datastore, config.vm, vmem.vmem_file(config.vm, taken.memory), data
            )
        await write_config(host.datastore, made)
    except DatastoreFault:
        await empty_unused_files(host.datastore, await read_config(host.datastore, vm.name))
        raise
    use_config(vm, made)
    host.node.record(
        "vm.snapshot",
        vm=vm.name,
        snapshot=taken.name,
        files=len(taken.serials),
        memory=memory is not None,
    )


def _with_next(config: VmConfig, name: str, *, memory: bool) -> VmConfig:
    """The VM with the snapshot to be created, its last."""
    serial, memories = config.serial + len(config.disks), config.memories + memory
    taken = VmSnapshot(
        name=name,
        serials=tuple(range(config.serial + 1, serial + 1)),
        vtpm=0 if config.vtpm is None else next_state_serial(config),
        memory=memories if memory else 0,
    )
    return msgspec.structs.replace(
        config, serial=serial, memories=memories, snapshots=(*config.snapshots, taken)
    )


async def remove_snapshot(host: EsxiHost, name: VmName, snapshot: str) -> RegisteredVm:
    """See ``HostRemoveSnapshot``."""
    vm = host.require_vm(name)
    if vm.guest is not None:
        await _remove_locked(host, vm, snapshot)
    else:
        async with hold_lock(host.datastore, name):
            await _remove_locked(host, vm, snapshot)
    return vm


async def _remove_locked(host: EsxiHost, vm: RegisteredVm, snapshot: str) -> None:
    config = await read_config(host.datastore, vm.name)
    left = tuple(one for one in config.snapshots if one.name != snapshot)
    if left != config.snapshots:
        await unwrap_home(host, config)
        config = msgspec.structs.replace(config, snapshots=left)
        await write_config(host.datastore, config)
        host.node.record("vm.snapshot_removed", vm=vm.name, snapshot=snapshot)
    use_config(vm, config)
    await empty_unused_files(host.datastore, config)


def next_state_serial(config: VmConfig) -> int:
    """A serial that no state of its virtual TPM has."""
    used = [one.vtpm for one in config.snapshots]
    return max([*used, 1 if config.vtpm is None else config.vtpm.serial]) + 1


async def copy_file(host: EsxiHost, config: VmConfig, source: str, target: str) -> None:
    """Copy a file of the VM to another name; ``DatastoreFault`` when that fails."""
    try:
        data = await host.datastore.read(config.vm, source)
    except OSError as error:
        raise DatastoreFault(f"{config.vm}: {source}: {error.strerror or error}") from None
    await write_file(host.datastore, config.vm, target, data)


async def unwrap_home(host: EsxiHost, config: VmConfig) -> KeyMaterial | None:
    """The DEK of the VM's home, without whose key its configuration is not changed (LOCK-02); None
    for a VM in clear."""
    if config.home is None:
        return None
    key = config.home.key
    await search.bring_keys(host, (key,), subject=config.vm, ask=False)
    kek = host.keys.get(key)
    if kek is None:
        raise EncryptionKeyRequired(f"{config.vm}: a key left the cache", (key,))
    return open_home(config, {key: kek})


def use_config(vm: RegisteredVm, config: VmConfig) -> None:
    """Make ``config`` the one in force, for queries and for the running guest."""
    vm.config, vm.problem = config, ""
    if vm.guest is not None:
        vm.guest.config = config
