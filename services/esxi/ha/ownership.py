"""Owners of VMs: a host that was away leaves VMs alone that another host has taken over.

The owner is recorded with the VM's last power command, with or without HA. A host that boots does
not start a VM that was restarted elsewhere, or that moved before this host lost power and recorded
the move. With HA it drops the registration too; without HA, vCenter drops it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from protocol.errors import DatastoreFault, NotFound, ProductError, SaveFailed
from protocol.terms import NodeName, PowerState, VmName
from services.esxi.host import EsxiHost
from services.esxi.vms import power, registration
from services.esxi.vms.files import (
    hold_lock,
    lock_and_keep,
    read_power,
    release_lock,
    write_power,
)
from services.esxi.vms.power_file import PowerRecord
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
