"""Which VMs are registered on a host: created, registered, unregistered, destroyed, found at boot.

The registration is saved before the reply. A VM's files are written before or after it, in the
order that lets a repeated command finish what a crash interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET

from protocol import names
from protocol.errors import (
    AlreadyExists,
    DatastoreFault,
    InvalidPowerState,
    NotFound,
    ProductError,
    SaveFailed,
)
from protocol.messages.host.vms import HostCreateVm
from protocol.terms import CryptoKeyId, PowerState, ProviderId, VmName
from services.esxi.configuration.sections import ConfigurationSection
from services.esxi.host import EsxiHost
from services.esxi.keys import vm_keys
from services.esxi.vms import clone
from services.esxi.vms.file_formats import (
    EFI,
    HARDWARE,
    POWER_FILE,
    VmConfig,
    VmKeys,
    encrypt_config,
    new_config,
    vmx_file,
)
from services.esxi.vms.files import (
    empty_unused_files,
    hold_lock,
    read_config,
    read_power,
    write_config,
    write_power,
)
from services.esxi.vms.guest import fresh_blocks
from services.esxi.vms.reconfigure import usable_kek, write_disks
from services.esxi.vms.vm import RegisteredVm, queue_of


async def load_vms(host: EsxiHost) -> None:
    """At boot: read every registered VM's files. A VM whose files cannot be read is shown as
    invalid."""
    await clone.remove_unfinished_clones(host)
    for name in host.archive.now.vms:
        vm = host.vms[name] = RegisteredVm(name)
        if not await _read_files(host, vm) and await clone.remove_unfinished_clone(host, name):
            del host.vms[name]


async def _read_files(host: EsxiHost, vm: RegisteredVm) -> bool:
    """Read its files again; ``problem`` has the reason of a failure. Returns whether it has any."""
    there = True
    try:
        config = await read_config(host.datastore, vm.name)
        vm.wanted = await read_wanted_power(host, vm.name)
        vm.config, vm.problem = config, ""
    except ProductError as error:
        there = not isinstance(error, NotFound)
        vm.config, vm.problem = None, str(error)
        host.node.record("vm.unreadable", level="warning", vm=vm.name, reason=str(error))
    return there


async def reread_configs(host: EsxiHost) -> None:
    """Read the configuration of each VM that does not run here again from the datastore.

    A VM whose files cannot be read now, or that this host is changing, keeps its known
    configuration.
    """
    for vm in [vm for vm in host.vms.values() if vm.guest is None]:
        before = vm.config
        try:
            config = await read_config(host.datastore, vm.name)
        except ProductError as error:
            host.node.record("vm.unreadable", level="warning", vm=vm.name, reason=str(error))
            continue
        if vm.guest is None and vm.config is before and config != before:
            vm.config, vm.problem = config, ""


async def read_wanted_power(host: EsxiHost, name: VmName) -> PowerState:
    """The last accepted power command; off, with a record, when it cannot be read."""
    power = await read_power(host.datastore, name)
    if power is None:
        reason = f"{name}: {POWER_FILE} is damaged or gone: the VM counts as powered off"
        host.node.record("vm.unreadable", level="warning", vm=name, reason=reason)
        return PowerState.OFF
    return power.wanted


async def create_from_message(host: EsxiHost, message: HostCreateVm) -> RegisteredVm:
    """See ``create_vm``."""
    fields = {"firmware": message.firmware, "hardware": message.hardware}
    given: dict[str, Any] = {key: value for key, value in fields.items() if value is not UNSET}
    return await create_vm(host, message.vm, message.blocks, message.key, message.provider, **given)


async def create_vm(
    host: EsxiHost,
    name: VmName,
    blocks: int,
    key: CryptoKeyId | None = None,
    provider: ProviderId | None = None,
    *,
    firmware: str = EFI,
    hardware: int = HARDWARE,
) -> RegisteredVm:
    """Create and register a VM, encrypted under ``key`` from the first byte if there is one.

    ``provider`` without ``key``: under a key that the host makes of it (KEY-02).

    No change when it is registered and has its files. It is registered first: a crash in between
    leaves an invalid VM, which a repeat completes. A failure removes the registration.
    """
    names.VM.check(name)
    config = new_config(name, blocks, host.rng, firmware, hardware)
    known = host.vms.get(name)
    if known is not None and known.config is not None:
        return known
    host.check_takes_vms()
    keys = VmKeys((None,), config.nvram)
    plain = [fresh_blocks(disk, keys.seed) for disk in config.disks]
    if key is None and provider is not None:
        key = await vm_keys.new_key(host, provider)
    if key is not None:
        config, keys = encrypt_config(config, key, usable_kek(host, name, key), host.rng)
    if vmx_file(name) in await host.datastore.files(name):
        raise AlreadyExists(f"{name} has files on the datastore: register it")
    vm = await _save_registration(host, RegisteredVm(name))
    try:
        async with hold_lock(host.datastore, name):
            await _write_new(host, config, keys, plain)
    except DatastoreFault:
        await _remove_registration(host, name)
        raise
    vm.config, vm.wanted, vm.problem = config, PowerState.OFF, ""
    host.node.record("vm.created", vm=name, blocks=blocks)
    if key is not None:
        host.node.record("vm.encrypted", vm=name, key=str(key))
    return vm


async def _write_new(
    host: EsxiHost, config: VmConfig, keys: VmKeys, plain: Sequence[Sequence[bytes]]
) -> None:
    """Write all files, the configuration last; none is left when one cannot be written."""
    try:
        await write_disks(host.datastore, config, keys, plain)
        await write_power(host.datastore, config.vm, host.power_record(PowerState.OFF))
        await write_config(host.datastore, config)
    except DatastoreFault:
        await host.datastore.remove(config.vm)
        raise


async def register_vm(host: EsxiHost, name: VmName) -> RegisteredVm:
    """Register the VM whose files are on the datastore; ``NotFound`` when there are none."""
    names.VM.check(name)
    if name not in host.vms:
        host.check_takes_vms()
    config = await read_config(host.datastore, name)
    wanted = await read_wanted_power(host, name)
    vm = await _save_registration(host, host.vms.get(name) or RegisteredVm(name))
    if vm.guest is None:
        vm.config, vm.wanted, vm.problem = config, wanted, ""
    host.node.record("vm.registered", vm=name)
    return vm


async def unregister_vm(host: EsxiHost, name: VmName) -> None:
    """Remove the VM's registration; its files stay. No change when it is not registered."""
    known = name in host.vms
    if known:
        _check_not_running(host.require_vm(name))
    await _remove_registration(host, name)
    if known:
        host.node.record("vm.unregistered", vm=name)


async def destroy_vm(host: EsxiHost, name: VmName) -> None:
    """Delete its files and unregister it. No change when it is not registered."""
    if name in host.vms:
        _check_not_running(host.require_vm(name))
        async with hold_lock(host.datastore, name):
            await host.datastore.remove(name)
        host.node.record("vm.destroyed", vm=name)
    await _remove_registration(host, name)


async def empty_all_unused_files(host: EsxiHost) -> None:
    """After boot: empty disk files that a crash left behind in an encryption.

    The present configuration decides: another host may have rewritten the disks since the boot.
    """
    for name in list(host.vms):
        async with host.node.turn(queue_of(name)):
            vm = host.vms.get(name)
            if vm is None or vm.config is None or vm.guest is not None:
                continue
            try:
                async with hold_lock(host.datastore, name):
                    await empty_unused_files(
                        host.datastore, await read_config(host.datastore, name)
                    )
            except ProductError as error:
                host.node.record("vm.untidy", level="warning", vm=name, reason=str(error))


async def _save_registration(host: EsxiHost, vm: RegisteredVm) -> RegisteredVm:
    """Register, and undo that if the disk fails: vCenter would take it for a VM of this host."""
    now = host.archive.now
    new = vm.name not in now.vms
    if new:
        host.archive.change(vms=(*now.vms, vm.name))
    host.vms[vm.name] = vm
    try:
        await host.archive.save(ConfigurationSection.VMS)
    except SaveFailed:
        if new:
            del host.vms[vm.name]
            host.archive.change(vms=tuple(n for n in host.archive.now.vms if n != vm.name))
        raise
    return vm


async def _remove_registration(host: EsxiHost, name: VmName) -> None:
    host.vms.pop(name, None)
    now = host.archive.now.vms
    if name in now:
        host.archive.change(vms=tuple(other for other in now if other != name))
    await host.archive.save(ConfigurationSection.VMS)


def _check_not_running(vm: RegisteredVm) -> None:
    if vm.guest is not None:
        raise InvalidPowerState(f"{vm.name} is running")
