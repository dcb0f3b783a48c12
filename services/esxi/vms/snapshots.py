"""Snapshots of a VM at its host: whole copies of its disks and of its virtual TPM's state, created,
removed and reverted to. A snapshot with memory resumes the VM.
"""

from __future__ import annotations

from contextlib import nullcontext, suppress

import msgspec

from protocol import names
from protocol.errors import (
    CryptographicFailure,
    DatastoreFault,
    EncryptionKeyRequired,
    InvalidState,
    NotFound,
    ProductError,
    ResourceInUse,
    SaveFailed,
)
from protocol.messages.host.vms import SNAPSHOTS_LIMIT, HostCreateSnapshot, HostRevertToSnapshot
from protocol.secret import KeyMaterial
from protocol.terms import PowerState, VmName
from services.esxi.host import EsxiHost
from services.esxi.keys import vm_keys
from services.esxi.vms import file_formats
from services.esxi.vms.file_formats import (
    VmConfig,
    VmKeys,
    VmSnapshot,
    disk_file,
    nvram_file,
    open_home,
    open_vm,
)
from services.esxi.vms.files import (
    empty_unused_files,
    hold_lock,
    lock_and_keep,
    read_config,
    release_lock,
    write_config,
    write_file,
    write_power,
)
from services.esxi.vms.guest import (
    SECRET_SIZE,
    GuestMemory,
    Ram,
    RunningGuest,
    pack_memory,
    unpack_memory,
)
from services.esxi.vms.power import open_vm_with_keys, unpack_arrived_vtpm
from services.esxi.vms.vm import RegisteredVm
from services.esxi.vms.vtpm import read_state


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
            data = file_formats.pack_vmem(
                config.vm, taken.name, taken.memory, memory, home, host.rng
            )
            await write_file(
                host.datastore, config.vm, file_formats.vmem_file(config.vm, taken.memory), data
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
    await vm_keys.bring_keys(host, (key,), subject=config.vm, ask=False)
    kek = host.keys.get(key)
    if kek is None:
        raise EncryptionKeyRequired(f"{config.vm}: a key left the cache", (key,))
    return open_home(config, {key: kek})


def use_config(vm: RegisteredVm, config: VmConfig) -> None:
    """Make ``config`` the one in force, for queries and for the running guest."""
    vm.config, vm.problem = config, ""
    if vm.guest is not None:
        vm.guest.config = config


async def revert_vm(host: EsxiHost, message: HostRevertToSnapshot) -> RegisteredVm:
    """See ``HostRevertToSnapshot``. A repeat has the same result: the copy is unchanged."""
    vm = host.require_vm(message.vm)
    # The run of a running guest holds its lock, the caller its turn.
    async with lock_and_keep(host.datastore, vm.name) if vm.guest is None else nullcontext():
        await _revert_locked(host, vm, message)
    if vm.guest is None:
        await release_lock(host.datastore, vm.name)
    return vm


async def _revert_locked(host: EsxiHost, vm: RegisteredVm, message: HostRevertToSnapshot) -> None:
    config = await read_config(host.datastore, vm.name)
    kept = next((one for one in config.snapshots if one.name == message.snapshot), None)
    if kept is None:
        raise NotFound(f"{vm.name} has no snapshot {message.snapshot}")
    if kept.memory and not message.suppress_power_on:
        await _resume_guest(host, vm, config, kept)
    else:
        await unwrap_home(host, config)
        made = _config_of(config, kept)
        await _switch_files(host, config, kept, made, _build_verifier(host, made))
        ran, vm.guest = vm.guest is not None, None  # its disks are in no configuration any more
        use_config(vm, made)
        if ran:
            await _write_power_off(host, vm, kept)
    host.node.record("vm.reverted", vm=vm.name, snapshot=kept.name, power=vm.power.value)
    await _empty_earlier_files(host, vm)


def _build_verifier(host: EsxiHost, config: VmConfig) -> RunningGuest | None:
    """A guest that verifies the disks; None when the key of one is not here."""
    keks = {key: kek for key in config.keys if (kek := host.keys.get(key)) is not None}
    if len(keks) < len(config.keys):
        return None
    keys = open_vm(config, keks) if keks else VmKeys((None,) * len(config.disks), config.nvram)
    ram = Ram(host.rng.token(SECRET_SIZE), secrecy=bool(keks))
    return RunningGuest(host.datastore, config, keys, ram)


async def _write_power_off(host: EsxiHost, vm: RegisteredVm, kept: VmSnapshot) -> None:
    """Step 3 for a VM that ran; its guest is gone."""
    vm.wanted = PowerState.OFF
    host.node.record("vm.powered", vm=vm.name, power=PowerState.OFF.value)
    try:
        await write_power(host.datastore, vm.name, host.power_record(PowerState.OFF))
    except ProductError as error:
        with suppress(DatastoreFault):
            await release_lock(host.datastore, vm.name)
        text = f"{vm.name} is as it was in {kept.name}, and off until its host boots: {error}"
        raise SaveFailed(text) from None


async def _resume_guest(
    host: EsxiHost, vm: RegisteredVm, config: VmConfig, kept: VmSnapshot
) -> None:
    """Resume the guest from the snapshot's memory (VTPM-08)."""
    made = _config_of(config, kept)
    try:
        host.check_takes_vms()
        if config.template:
            raise InvalidState(f"{vm.name} is a template: it is not powered on")
        keys = await open_vm_with_keys(host, config, ask=False)
        memory = await _read_memory(host, config, kept, keys)
        guest = RunningGuest.thaw(host.datastore, made, keys, memory)
        guest.vtpm = unpack_arrived_vtpm(host, made, keys, memory)
    except ProductError as error:
        host.node.record(
            "vm.refused",
            level="warning",
            vm=vm.name,
            command="revert",
            error=type(error).__name__,
            reason=str(error),
            missing=[str(key) for key in error.keys],
        )
        raise
    await _switch_files(host, config, kept, made, guest)
    if vm.guest is None:
        use_config(vm, made)
        try:
            async with host.protection.protecting(host.datastore, vm.name):
                await write_power(host.datastore, vm.name, host.power_record(PowerState.ON))
                vm.guest, vm.wanted = guest, PowerState.ON
        except ProductError as error:
            raise SaveFailed(f"{vm.name} is as it was in {kept.name}, and off: {error}") from None
        host.node.record("vm.powered", vm=vm.name, power=PowerState.ON.value)
    vm.guest, vm.wanted = guest, PowerState.ON
    use_config(vm, made)


async def _read_memory(
    host: EsxiHost, config: VmConfig, kept: VmSnapshot, keys: VmKeys
) -> GuestMemory:
    """The guest's memory in the snapshot; ``DatastoreFault`` when the file was altered."""
    file = file_formats.vmem_file(config.vm, kept.memory)
    try:
        data = await host.datastore.read(config.vm, file)
        return unpack_memory(
            file_formats.unpack_vmem(config.vm, kept.name, kept.memory, data, keys.home)
        )
    except OSError as error:
        raise DatastoreFault(f"{config.vm}: {file}: {error.strerror or error}") from None
    except CryptographicFailure:
        raise DatastoreFault(
            f"{config.vm}: {file} is damaged: the memory of snapshot {kept.name} is lost, its "
            "disks are not (suppressPowerOn)"
        ) from None


def _config_of(config: VmConfig, kept: VmSnapshot) -> VmConfig:
    """The VM with its disks, and the state of its virtual TPM, in their next files."""
    disks = tuple(
        msgspec.structs.replace(disk, serial=config.serial + number)
        for number, disk in enumerate(config.disks, 1)
    )
    vtpm = config.vtpm
    if vtpm is not None and kept.vtpm:
        vtpm = msgspec.structs.replace(vtpm, serial=next_state_serial(config))
    serial = config.serial + len(disks)
    return msgspec.structs.replace(config, serial=serial, disks=disks, vtpm=vtpm, offer=None)


async def _switch_files(
    host: EsxiHost, config: VmConfig, kept: VmSnapshot, made: VmConfig, guest: RunningGuest | None
) -> None:
    """Steps 1 and 2; a definite failure leaves the files unchanged. ``guest`` verifies the disks.
    ``GuestFault`` when the snapshot is damaged."""
    try:
        for serial, disk in zip(kept.serials, made.disks, strict=True):
            await copy_file(host, config, disk_file(serial), disk.file)
        if made.vtpm is not None and kept.vtpm:
            there = nvram_file(config.vm, kept.vtpm)
            await copy_file(host, config, there, nvram_file(config.vm, made.vtpm.serial))
            if (home := await unwrap_home(host, config)) is not None:
                await read_state(host.datastore, config.vm, made.vtpm, home)
        if guest is not None:
            await guest.start()
        await write_config(host.datastore, made)
    except ProductError as error:
        if error.definite:  # otherwise the files of a running guest might be in no configuration
            await empty_unused_files(host.datastore, await read_config(host.datastore, config.vm))
        raise


async def _empty_earlier_files(host: EsxiHost, vm: RegisteredVm) -> None:
    """Step 4. What the datastore refuses is done when the VM is opened next."""
    try:
        await empty_unused_files(host.datastore, await read_config(host.datastore, vm.name))
    except DatastoreFault as error:
        host.node.record("vm.untidy", level="warning", vm=vm.name, reason=str(error))
