"""The target of a migration: prepare for the VM, receive its memory, resume its guest."""

from __future__ import annotations

import msgspec

from protocol.errors import InvalidArgument, InvalidState, ProductError
from protocol.messages.host import (
    CheckRelocate,
    HostEndMigration,
    HostPrepareMigration,
    SendMemory,
    SwitchOver,
)
from protocol.terms import NodeName, PowerState, VmName
from services.esxi.ha import ownership
from services.esxi.host import EsxiHost
from services.esxi.migration.state import LIMIT_REQUESTS, Incoming
from services.esxi.migration.streams import cipher_of, part_aad
from services.esxi.vms import registration
from services.esxi.vms.files import lock_and_keep, read_config, write_config
from services.esxi.vms.guest import RunningGuest
from services.esxi.vms.memory import unpack_memory
from services.esxi.vms.power import open_vm_with_keys, unpack_arrived_vtpm
from services.esxi.vms.vm import RegisteredVm, queue_of
from services.esxi.vms.vmx import VmConfig


async def check_relocation(host: EsxiHost, message: CheckRelocate) -> None:
    """Check that the VM could arrive, and that its keys open it (MOB-07); nothing is changed."""
    if message.datastore != host.config.datastore:
        raise InvalidArgument(
            f"host: {host.node.name} has {host.config.datastore}, and the files of {message.vm} "
            f"lie on {message.datastore}"
        )
    host.check_takes_vms()
    config = await read_config(host.datastore, message.vm)
    if config.keys != message.keys:
        raise InvalidState(f"{message.vm} uses other keys than the migration names")
    try:
        await open_vm_with_keys(host, config, ask=False)
    except ProductError as error:
        _record_refusal(host, message.vm, error)
        raise


async def check_source(host: EsxiHost, name: VmName) -> None:
    """``InvalidState`` if another host holds the lock of a VM that does not run here: it may run
    there, unseen by vCenter."""
    vm = host.vms.get(name)
    if vm is None or vm.guest is not None:
        return
    holder = (await host.datastore.holders([name])).get(name)
    if holder not in (None, host.node.name):
        raise InvalidState(f"{name} is locked by {holder}, where it may run")


async def prepare_migration(host: EsxiHost, message: HostPrepareMigration) -> RegisteredVm:
    """Get the keys, then register the VM; saved before the reply. A refusal leaves nothing.

    Raises the faults of a power-on; ``InvalidState`` when the VM runs here already.
    """
    name = message.vm
    known, incoming = host.vms.get(name), host.migrations.incoming.get(name)
    if incoming is not None and incoming.migration == message.migration and known is not None:
        return known
    if known is not None and known.guest is not None:
        raise InvalidState(f"{name} runs on {host.node.name} already")
    host.check_takes_vms()
    cipher = cipher_of(message.stream, message.material)
    config = await read_config(host.datastore, name)
    try:
        keys = await open_vm_with_keys(host, config, ask=False)
    except ProductError as error:
        _record_refusal(host, name, error)
        raise
    vm = await registration.register_vm(host, name)
    registered = known is None or (incoming is not None and incoming.registered)
    host.migrations.incoming[name] = Incoming(
        message.migration, message.source, cipher, config, keys, registered=registered
    )
    host.node.background("migration.limit", _give_up_in_time(host, name, message.migration))
    host.node.record(
        "vm.migration_prepared",
        vm=name,
        source=message.source,
        migration=message.migration,
        encrypted=cipher is not None,
    )
    return vm


def receive_memory(host: EsxiHost, message: SendMemory, sender: NodeName) -> None:
    """Receive one part of the memory. ``CryptographicFailure`` when it is not what the source
    sealed."""
    incoming = host.migrations.require_incoming(message.vm, message.migration, sender)
    if message.number < len(incoming.parts):
        return
    if message.number > len(incoming.parts) or incoming.memory is not None:
        raise InvalidState(f"{message.vm}: part {message.number} of its memory is out of turn")
    part = message.data
    if incoming.cipher is not None:
        aad = part_aad(message.vm, message.migration, message.number, last=message.last)
        part = incoming.cipher.open_part(message.number, part, aad)
    memory = unpack_memory(b"".join((*incoming.parts, part))) if message.last else None
    incoming.parts.append(part)
    incoming.memory = memory


async def switch_over(host: EsxiHost, message: SwitchOver, sender: NodeName) -> None:
    """Take the lock, find the offer, remove it, and resume the guest.

    A failure before the offer is removed leaves it to the source; nothing fails after that.
    """
    if host.migrations.arrived.get(message.vm) == message.migration:
        return
    incoming = host.migrations.require_incoming(message.vm, message.migration, sender)
    if incoming.memory is None:
        raise InvalidState(f"{message.vm}: its memory is not whole")
    host.check_takes_vms()
    vm = host.require_vm(message.vm)
    async with lock_and_keep(host.datastore, message.vm):
        config = await _read_offered_config(host, incoming)
        guest = RunningGuest.thaw(host.datastore, config, incoming.keys, incoming.memory)
        guest.vtpm = unpack_arrived_vtpm(host, config, incoming.keys, incoming.memory)
        async with ownership.claim_arriving_vm(host, message.vm):
            await write_config(host.datastore, config)
            vm.config, vm.problem, vm.wanted, vm.guest = config, "", PowerState.ON, guest
    del host.migrations.incoming[message.vm]
    host.migrations.arrived[message.vm] = message.migration
    host.node.record("vm.migrated_in", vm=message.vm, source=sender, migration=message.migration)


async def _read_offered_config(host: EsxiHost, incoming: Incoming) -> VmConfig:
    """The configuration without the offer. ``InvalidState`` when this host has no offer now: the
    source resumed the guest, or another host has started the VM since."""
    config = await read_config(host.datastore, incoming.config.vm)
    offer = config.offer
    if offer is None or (offer.migration, offer.target) != (incoming.migration, host.node.name):
        raise InvalidState(f"{config.vm} is not offered to {host.node.name} any more")
    config = msgspec.structs.replace(config, offer=None)
    if config != incoming.config:
        raise InvalidState(f"{config.vm} was changed since {host.node.name} opened it")
    return config


async def end_migration(host: EsxiHost, message: HostEndMigration) -> RegisteredVm | None:
    """End the migration: a VM that has not arrived yet does not arrive any more."""
    await _give_up(host, message.vm, message.migration)
    return host.vms.get(message.vm)


async def _give_up_in_time(host: EsxiHost, name: VmName, migration: str) -> None:
    await host.clock.sleep(LIMIT_REQUESTS * host.node.knobs.request_timeout_s)
    async with host.node.turn(queue_of(name)):
        await _give_up(host, name, migration)


async def _give_up(host: EsxiHost, name: VmName, migration: str) -> None:
    """Runs in the VM's turn. A registration made for the migration alone is removed, unless it is
    needed by now: a VM that was started here stays."""
    incoming = host.migrations.incoming.get(name)
    if incoming is None or incoming.migration != migration:
        return
    del host.migrations.incoming[name]
    host.node.record("vm.migration_given_up", level="warning", vm=name, migration=migration)
    vm = host.vms.get(name)
    if not incoming.registered or vm is None or vm.guest is not None:
        return
    try:
        holder = (await host.datastore.holders([name])).get(name)
        if holder in (None, host.node.name):
            return  # its source is gone: it must be registered on a host that can start it
        await registration.unregister_vm(host, name)
    except (ProductError, OSError) as error:
        host.node.record("vm.untidy", level="warning", vm=name, reason=str(error))


def _record_refusal(host: EsxiHost, name: VmName, error: ProductError) -> None:
    host.node.record(
        "vm.refused",
        level="warning",
        vm=name,
        command="migrate",
        error=type(error).__name__,
        reason=str(error),
        missing=[str(key) for key in error.keys],
    )
