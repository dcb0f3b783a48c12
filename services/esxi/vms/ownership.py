"""Owners of VMs, recorded with the last power command, with or without HA: a host that was away
leaves VMs alone that another host has taken over. Step B9: a booted host starts the VMs that
were running and that it still owns.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from protocol.errors import (
    DatastoreFault,
    EncryptionKeyRequired,
    InvalidState,
    NotFound,
    ProductError,
    SaveFailed,
)
from protocol.terms import CryptoKeyId, NodeName, PowerState, VmName
from services.esxi.host import EsxiHost
from services.esxi.vms import power, registration
from services.esxi.vms.file_formats import PowerRecord
from services.esxi.vms.files import (
    hold_lock,
    lock_and_keep,
    read_power,
    release_lock,
    write_power,
)
from services.esxi.vms.vm import RegisteredVm, queue_of


async def owner_of(host: EsxiHost, vm: VmName) -> NodeName | None:
    """The owner of the VM since HA is on; None when none is recorded, or it cannot be read."""
    if host.ha is None:
        return None
    record = await read_power(host.datastore, vm)
    return None if record is None else owner_in(record, host.ha.epoch)


def owner_in(record: PowerRecord, epoch: str) -> NodeName | None:
    """The owner in a record of this epoch."""
    return record.owner if record.epoch == epoch else None


async def is_still_ours(host: EsxiHost, vm: VmName) -> bool:
    """Whether the VM has this host as owner, or none. ``DatastoreFault``: it cannot be read."""
    return await owner_of(host, vm) in (None, host.node.name)


async def start_if_ours(host: EsxiHost, vm: VmName) -> None:
    """Power the VM on as after a boot, if it is still this host's by its record. With HA, where
    primaries restart VMs by themselves, its lock is held meanwhile. ``NotFound``: another host has
    taken it over, or it is not to run."""
    if host.ha is None:
        await _check_ours(host, vm)
        await power.power_on(host, vm, ask=False)
        return
    async with lock_and_keep(host.datastore, vm):
        await _check_ours(host, vm)
        await power.power_on(host, vm, ask=False)


async def _check_ours(host: EsxiHost, vm: VmName) -> None:
    record = await read_power(host.datastore, vm)
    if record is not None and record.wanted is PowerState.ON:
        if record.owner in (None, host.node.name):
            return
        host.node.record("vm.left_alone", vm=vm, owner=record.owner)
    raise NotFound(f"{vm} is not to run on {host.node.name} any more")


async def start_again(host: EsxiHost, names: tuple[VmName, ...]) -> None:
    """Start those of these VMs that are off and still this host's."""
    for name in names:
        async with host.node.turn(queue_of(name)):
            vm = host.vms.get(name)
            if vm is None or vm.guest is not None or vm.wanted is PowerState.OFF:
                continue
            try:
                await start_if_ours(host, name)
            except (ProductError, OSError) as error:
                host.node.record("ha.left", level="warning", vm=name, reason=str(error))


async def drop_vms_of_others(host: EsxiHost) -> None:
    """After a boot, before any VM is started: drop registrations of VMs that other hosts own."""
    for vm in list(host.vms.values()) if host.ha is not None else ():
        async with host.node.turn(queue_of(vm.name)):
            known = host.vms.get(vm.name) is vm
            if known and vm.guest is None and not await _may_start_here(host, vm):
                await _drop_registration(host, vm)


async def drop_taken_over_vms(host: EsxiHost) -> None:
    """While the host lives: drop VMs that should run and that their owner runs elsewhere.

    The lock of a VM that does not run here is released, if the datastore refused that before.
    """
    idle = [vm for vm in host.vms.values() if vm.guest is None and vm.wanted is PowerState.ON]
    holders = await host.datastore.holders([vm.name for vm in idle]) if idle else {}
    for vm in idle:
        holder = holders.get(vm.name)
        if holder is None:
            continue
        async with host.node.turn(queue_of(vm.name)):
            if host.vms.get(vm.name) is not vm or vm.guest is not None:
                continue  # it was registered again, or started, meanwhile
            if holder == host.node.name:
                await release_lock(host.datastore, vm.name)
            elif await owner_of(host, vm.name) == holder:
                await _drop_registration(host, vm)


@asynccontextmanager
async def claim_arriving_vm(host: EsxiHost, vm: VmName) -> AsyncIterator[None]:
    """A running VM is about to continue here, and its lock is held: record this host as owner, and
    protect it with HA. ``DatastoreFault``: that could not be written."""
    async with host.protection.protecting(host.datastore, vm):
        await write_power(host.datastore, vm, host.power_record(PowerState.ON))
        yield


async def claim_registered_vm(host: EsxiHost, vm: RegisteredVm) -> None:
    """The VM is registered here from now on: record this host as owner.

    No change while another host runs it, which is ``DatastoreFault`` with HA.
    """
    record = await read_power(host.datastore, vm.name)
    if record is None or record.owner in (None, host.node.name):
        return
    try:
        async with hold_lock(host.datastore, vm.name):
            await write_power(host.datastore, vm.name, host.power_record(vm.wanted))
    except DatastoreFault:
        if host.ha is not None:
            raise


async def _may_start_here(host: EsxiHost, vm: RegisteredVm) -> bool:
    try:
        return await is_still_ours(host, vm.name)
    except ProductError:
        return True  # a VM that cannot be read cannot be started either


async def _drop_registration(host: EsxiHost, vm: RegisteredVm) -> None:
    try:
        await registration.unregister_vm(host, vm.name)
    except SaveFailed as error:
        host.node.record("config.save_failed", level="warning", reason=str(error))
    host.node.record("ha.taken_over", vm=vm.name)


async def start_wanted_vms(host: EsxiHost) -> None:
    """Start VMs whose last accepted command was *on*; try again when keys arrive.

    Only within this boot's window (``autostart_window_s``): a key that arrives later unlocks a VM,
    and starts none. vCenter is rung once for each VM that lacks keys, and when VMs started.
    """
    if host.archive.now.maintenance:
        host.node.record("boot.step", step="B9", text="maintenance mode: nothing is started")
        return
    window_s = host.clock.limit(host.node.knobs.autostart_window_s)
    deadline = host.clock.monotonic() + window_s
    waiting = [vm.name for vm in host.vms.values() if vm.wanted is PowerState.ON]
    requested: set[VmName] = set()
    again = False
    while waiting:
        change = host.keys.next_change
        started, lacking = await _try_each(host, waiting, again=again)
        again = True
        waiting = list(lacking)
        if host.uplink.connected:
            news = {vm for vm, keys in lacking.items() if keys and vm not in requested}
            requested |= news
            if started or news:
                host.node.background("autostart.ring", _ring(host))
        left_s = deadline - host.clock.monotonic()
        if not waiting or left_s <= 0:
            break
        try:
            async with host.clock.timeout(left_s):
                await change.wait()
        except TimeoutError:
            break
    host.node.record("boot.step", step="B9", text="autostart ended", waiting=list(waiting))


async def _try_each(
    host: EsxiHost, vms: list[VmName], *, again: bool
) -> tuple[bool, dict[VmName, tuple[CryptoKeyId, ...]]]:
    """Try each VM once. Returns whether any started, and the VMs for which a key or the mode may
    still arrive.

    ``again``: the power commands read at boot may be outdated.
    """
    started = False
    lacking: dict[VmName, tuple[CryptoKeyId, ...]] = {}
    for name in vms:
        async with host.node.turn(queue_of(name)):
            vm = host.vms.get(name)
            if vm is None or vm.wanted is PowerState.OFF or vm.guest is not None:
                continue
            if name in host.migrations.incoming:  # it runs elsewhere and is migrating here
                continue
            try:
                if again:  # another host may have run it meanwhile and stopped it on command
                    vm.wanted = await registration.read_wanted_power(host, name)
                if vm.wanted is PowerState.OFF:
                    continue
                await start_if_ours(host, name)
            except (EncryptionKeyRequired, InvalidState) as error:
                lacking[name] = error.keys
            except ProductError:
                continue  # recorded; no arrival would help
            else:
                started = True
    return started, lacking


async def _ring(host: EsxiHost) -> None:
    await host.uplink.ring()
