"""Reverting a VM to a snapshot, at its host. A snapshot with memory resumes the VM.

1. copy the snapshot's files
2. write the configuration that names the copies, in the VM's turn; a running guest ends with it
3. store the power command, if it changed
4. empty the earlier files

If the VM runs afterwards, step 1 begins only when every key is here and the memory opens. Before
step 2 the disks and the virtual TPM's state are verified: by the guest that resumes from them, or,
of a VM that is off afterwards, as far as the keys of its disks are here (LOCK-03). So a refusal
leaves the VM as it was, running or not. A host that fails between steps 2 and 3 leaves a VM that is
reverted, with its earlier power command. The snapshot stays, so a repeat takes the same steps.
"""

from __future__ import annotations

from contextlib import nullcontext, suppress

import msgspec

from protocol.errors import (
    CryptographicFailure,
    DatastoreFault,
    InvalidState,
    NotFound,
    ProductError,
    SaveFailed,
)
from protocol.messages.host import HostRevertToSnapshot
from protocol.terms import PowerState
from services.esxi.host import EsxiHost
from services.esxi.vms import vmem
from services.esxi.vms.files import (
    empty_unused_files,
    lock_and_keep,
    read_config,
    release_lock,
    write_config,
    write_power,
)
from services.esxi.vms.guest import RunningGuest
from services.esxi.vms.memory import SECRET_SIZE, GuestMemory, Ram, unpack_memory
from services.esxi.vms.nvram import nvram_file
from services.esxi.vms.power import open_vm_with_keys, unpack_arrived_vtpm
from services.esxi.vms.snapshots import copy_file, next_state_serial, unwrap_home, use_config
from services.esxi.vms.vm import RegisteredVm
from services.esxi.vms.vmx import VmConfig, VmKeys, VmSnapshot, disk_file, open_vm
from services.esxi.vms.vtpm import read_state


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
    file = vmem.vmem_file(config.vm, kept.memory)
    try:
        data = await host.datastore.read(config.vm, file)
        return unpack_memory(vmem.unpack_vmem(config.vm, kept.name, kept.memory, data, keys.home))
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
