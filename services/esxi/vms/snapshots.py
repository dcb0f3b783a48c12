"""Snapshots of a VM at its host: whole copies of its disks and of its virtual TPM's state.

The copies are the files' bytes, so they lie under the DEKs of the VM: a shallow recrypt, which
wraps these anew, is one of the snapshots too, and what would give a disk another DEK is refused
while there are snapshots (REK-02, CLN-02). The memory of a guest is not kept.

Taken: 1. the copies are written, 2. the configuration names them, in one write. Reverted: 1. copies
of the copies, 2. the configuration, 3. the files before are emptied. Removed: 1. the configuration,
2. the copies are emptied. A crash in between leaves files that no configuration names, which are
emptied when the VM is opened next.
"""

from __future__ import annotations

import msgspec

from protocol import names
from protocol.errors import (
    DatastoreFault,
    EncryptionKeyRequired,
    InvalidPowerState,
    InvalidState,
    NotFound,
    ResourceInUse,
)
from protocol.messages.host import SNAPSHOTS_LIMIT
from protocol.terms import VmName
from services.esxi.host import Host
from services.esxi.keys import search
from services.esxi.vms.files import locked, read_config, tidy, write, write_config
from services.esxi.vms.nvram import nvram_file
from services.esxi.vms.vm import RegisteredVm
from services.esxi.vms.vmx import VmConfig, VmSnapshot, disk_file, open_home


def check_none(config: VmConfig, what: str) -> None:
    """``InvalidState`` when the VM has snapshots, whose disks are under its DEKs."""
    if config.snapshots:
        found = ", ".join(one.name for one in config.snapshots[:5])
        raise InvalidState(f"{config.vm} has snapshots ({found}): remove them to {what}")


async def create(host: Host, name: VmName, snapshot: str) -> RegisteredVm:
    """See ``HostCreateSnapshot``."""
    names.SNAPSHOT.check(snapshot)
    vm = host.registered(name)
    if vm.guest is not None:  # the lock is held by the guest's run, its turn by the caller
        await _taken(host, vm, snapshot)
    else:
        async with locked(host.datastore, name):
            await _taken(host, vm, snapshot)
    return vm


async def _taken(host: Host, vm: RegisteredVm, snapshot: str) -> None:
    config = await read_config(host.datastore, vm.name)
    if any(one.name == snapshot for one in config.snapshots):
        _show(vm, config)
        return
    if len(config.snapshots) >= SNAPSHOTS_LIMIT:
        raise ResourceInUse(f"{vm.name} has {SNAPSHOTS_LIMIT} snapshots")
    await _check_home(host, config)
    try:
        serial, serials = config.serial, []
        for disk in config.disks:
            serial += 1
            serials.append(serial)
            await _copy(host, config, disk.file, disk_file(serial))
        state = 0
        if config.vtpm is not None:
            state = _next_state(config)
            there = nvram_file(config.vm, config.vtpm.serial)
            await _copy(host, config, there, nvram_file(config.vm, state))
        taken = VmSnapshot(name=snapshot, serials=tuple(serials), vtpm=state)
        made = msgspec.structs.replace(config, serial=serial, snapshots=(*config.snapshots, taken))
        await write_config(host.datastore, made)
    except DatastoreFault:
        await tidy(host.datastore, await read_config(host.datastore, vm.name))
        raise
    _show(vm, made)
    host.node.record("vm.snapshot", vm=vm.name, snapshot=snapshot, files=len(serials))


async def remove(host: Host, name: VmName, snapshot: str) -> RegisteredVm:
    """See ``HostRemoveSnapshot``."""
    vm = host.registered(name)
    if vm.guest is not None:
        await _removed(host, vm, snapshot)
    else:
        async with locked(host.datastore, name):
            await _removed(host, vm, snapshot)
    return vm


async def _removed(host: Host, vm: RegisteredVm, snapshot: str) -> None:
    config = await read_config(host.datastore, vm.name)
    left = tuple(one for one in config.snapshots if one.name != snapshot)
    if left != config.snapshots:
        await _check_home(host, config)
        config = msgspec.structs.replace(config, snapshots=left)
        await write_config(host.datastore, config)
        host.node.record("vm.snapshot_removed", vm=vm.name, snapshot=snapshot)
    _show(vm, config)
    await tidy(host.datastore, config)


async def revert(host: Host, name: VmName, snapshot: str) -> RegisteredVm:
    """See ``HostRevertToSnapshot``. Twice is once: the copy is as it was."""
    vm = host.registered(name)
    if vm.guest is not None:
        raise InvalidPowerState(f"{name} is running: it reverts while powered off")
    async with locked(host.datastore, name):
        config = await read_config(host.datastore, name)
        kept = next((one for one in config.snapshots if one.name == snapshot), None)
        if kept is None:
            raise NotFound(f"{name} has no snapshot {snapshot}")
        await _check_home(host, config)
        try:
            config = await _reverted(host, config, kept)
        except DatastoreFault:
            await tidy(host.datastore, await read_config(host.datastore, name))
            raise
        _show(vm, config)
        await tidy(host.datastore, config)
    host.node.record("vm.reverted", vm=name, snapshot=snapshot)
    return vm


async def _reverted(host: Host, config: VmConfig, kept: VmSnapshot) -> VmConfig:
    serial, disks = config.serial, []
    for disk, copy in zip(config.disks, kept.serials, strict=True):
        serial += 1
        await _copy(host, config, disk_file(copy), disk_file(serial))
        disks.append(msgspec.structs.replace(disk, serial=serial))
    vtpm = config.vtpm
    if vtpm is not None and kept.vtpm:
        state = _next_state(config)
        there = nvram_file(config.vm, kept.vtpm)
        await _copy(host, config, there, nvram_file(config.vm, state))
        vtpm = msgspec.structs.replace(vtpm, serial=state)
    made = msgspec.structs.replace(config, serial=serial, disks=tuple(disks), vtpm=vtpm)
    await write_config(host.datastore, made)
    return made


def _next_state(config: VmConfig) -> int:
    """A serial that no state of its virtual TPM has."""
    used = [one.vtpm for one in config.snapshots]
    return max([*used, 1 if config.vtpm is None else config.vtpm.serial]) + 1


async def _copy(host: Host, config: VmConfig, source: str, target: str) -> None:
    try:
        data = await host.datastore.read(config.vm, source)
    except OSError as error:
        raise DatastoreFault(f"{config.vm}: {source}: {error.strerror or error}") from None
    await write(host.datastore, config.vm, target, data)


async def _check_home(host: Host, config: VmConfig) -> None:
    """The key of its home, without which its configuration is not changed (LOCK-02)."""
    if config.home is None:
        return
    key = config.home.key
    await search.bring(host, (key,), subject=config.vm, ask=False)
    kek = host.keys.get(key)
    if kek is None:
        raise EncryptionKeyRequired(f"{config.vm}: a key left the cache", (key,))
    open_home(config, {key: kek})


def _show(vm: RegisteredVm, config: VmConfig) -> None:
    vm.config, vm.problem = config, ""
    if vm.guest is not None:
        vm.guest.config = config
