"""Which VMs are registered on a host: made, registered, unregistered, destroyed, found at boot.

The registration is saved before the reply; a VM's files are made before or after it in the
order that lets a repeated command finish what a crash has cut off.
"""

from __future__ import annotations

from protocol.errors import (
    AlreadyExists,
    DatastoreFault,
    InvalidPowerState,
    NotFound,
    ProductError,
)
from protocol.terms import PowerState, VmName
from services.esxi.configuration.sections import Section
from services.esxi.host import Host
from services.esxi.vms.files import (
    locked,
    read_config,
    read_wanted,
    tidy,
    write,
    write_config,
    write_wanted,
)
from services.esxi.vms.guest import disk_image, fresh_blocks
from services.esxi.vms.vm import RegisteredVm
from services.esxi.vms.vmx import VmConfig, VmKeys, new_config, vmx_file


def registered(host: Host, vm: VmName) -> RegisteredVm:
    """The VM's entry; ``NotFound`` when it is not registered here."""
    entry = host.vms.get(vm)
    if entry is None:
        raise NotFound(f"{vm} is not registered on {host.node.name}")
    return entry


async def load(host: Host) -> None:
    """At boot: read every registered VM's files. One that cannot be read is shown invalid."""
    for vm in host.archive.now.vms:
        entry = host.vms[vm] = RegisteredVm(vm)
        await refresh(host, entry)


async def refresh(host: Host, entry: RegisteredVm) -> None:
    """Read its files again; ``problem`` says why that failed."""
    try:
        config = await read_config(host.datastore, entry.vm)
        entry.wanted = await read_wanted(host.datastore, entry.vm)
        entry.config, entry.problem = config, ""
    except ProductError as error:
        entry.config, entry.problem = None, str(error)
        host.node.record("vm.unreadable", level="warning", vm=entry.vm, reason=str(error))


async def create(host: Host, vm: VmName, blocks: int) -> RegisteredVm:
    """Make and register an unencrypted VM. No change when it is registered and has its files.

    Registered first: a crash in between leaves an invalid VM, which a repeat completes. A
    failure takes the registration back.
    """
    config = new_config(vm, blocks, host.rng)
    known = host.vms.get(vm)
    if known is not None and known.config is not None:
        return known
    if vmx_file(vm) in await host.datastore.files(vm):
        raise AlreadyExists(f"{vm} has files on the datastore: register it")
    entry = await _register(host, RegisteredVm(vm))
    try:
        async with locked(host.datastore, vm):
            await _write_new(host, config)
    except DatastoreFault:
        await _unregister(host, vm)
        raise
    entry.config, entry.wanted, entry.problem = config, PowerState.OFF, ""
    host.node.record("vm.created", vm=vm, blocks=blocks)
    return entry


async def _write_new(host: Host, config: VmConfig) -> None:
    """All files, the configuration last; nothing stays when one cannot be written."""
    image = disk_image(config, VmKeys(None, config.nvram), fresh_blocks(config, config.nvram))
    try:
        await write(host.datastore, config.vm, config.disk_file, image)
        await write_wanted(host.datastore, config.vm, PowerState.OFF)
        await write_config(host.datastore, config)
    except DatastoreFault:
        await host.datastore.remove(config.vm)
        raise


async def register(host: Host, vm: VmName) -> RegisteredVm:
    """Register the VM whose files lie on the datastore; ``NotFound`` when there are none."""
    config = await read_config(host.datastore, vm)
    wanted = await read_wanted(host.datastore, vm)
    entry = await _register(host, host.vms.get(vm) or RegisteredVm(vm))
    if entry.guest is None:
        entry.config, entry.wanted, entry.problem = config, wanted, ""
    host.node.record("vm.registered", vm=vm)
    return entry


async def unregister(host: Host, vm: VmName) -> None:
    """Take it out of the inventory; its files stay. No change when it is not registered."""
    known = vm in host.vms
    if known:
        _refuse_running(registered(host, vm))
    await _unregister(host, vm)
    if known:
        host.node.record("vm.unregistered", vm=vm)


async def destroy(host: Host, vm: VmName) -> None:
    """Delete its files and unregister it. No change when it is not registered."""
    if vm in host.vms:
        _refuse_running(registered(host, vm))
        async with locked(host.datastore, vm):
            await host.datastore.remove(vm)
        host.node.record("vm.destroyed", vm=vm)
    await _unregister(host, vm)


async def tidy_all(host: Host) -> None:
    """After boot: empty disk files that a crash left behind in an encryption."""
    for entry in list(host.vms.values()):
        async with host.node.turn(turn_of(entry.vm)):
            if entry.config is None or entry.guest is not None:
                continue
            try:
                async with locked(host.datastore, entry.vm):
                    await tidy(host.datastore, entry.config)
            except ProductError as error:
                host.node.record("vm.untidy", level="warning", vm=entry.vm, reason=str(error))


def turn_of(vm: VmName) -> str:
    """The queue in which work on this VM keeps its order."""
    return f"vm/{vm}"


async def _register(host: Host, entry: RegisteredVm) -> RegisteredVm:
    now = host.archive.now
    if entry.vm not in now.vms:
        host.archive.change(vms=(*now.vms, entry.vm))
    host.vms[entry.vm] = entry
    await host.archive.save(Section.VMS)
    return entry


async def _unregister(host: Host, vm: VmName) -> None:
    host.vms.pop(vm, None)
    now = host.archive.now.vms
    if vm in now:
        host.archive.change(vms=tuple(name for name in now if name != vm))
    await host.archive.save(Section.VMS)


def _refuse_running(entry: RegisteredVm) -> None:
    if entry.guest is not None:
        raise InvalidPowerState(f"{entry.vm} is running")
