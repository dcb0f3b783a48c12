"""vMotion at both hosts (MOB-01 to MOB-08).

The source sends the guest's memory in sealed parts, stops the guest and hands the VM's lock over,
or takes it back. The target prepares for the VM, receives its memory and resumes its guest.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import msgspec

from protocol.crypto.stream import StreamCipher
from protocol.errors import (
    DatastoreFault,
    InvalidArgument,
    InvalidPowerState,
    InvalidState,
    NotSent,
    ProductError,
    Refused,
)
from protocol.messages.base import Sealed
from protocol.messages.host.vms import (
    CheckRelocate,
    HostEndMigration,
    HostMigrateVm,
    HostPrepareMigration,
    SendMemory,
    StreamKey,
    SwitchOver,
    VmMigrated,
)
from protocol.terms import NodeName, PowerState, VmName
from services.esxi.host import EsxiHost
from services.esxi.migration.state import LIMIT_REQUESTS, Incoming, MigrationOutcome
from services.esxi.vms import ownership, registration
from services.esxi.vms.file_formats import MigrationOffer, VmConfig
from services.esxi.vms.files import (
    lock_and_keep,
    read_config,
    release_lock,
    take_lock,
    write_config,
)
from services.esxi.vms.guest import RunningGuest, pack_memory, unpack_memory
from services.esxi.vms.power import open_vm_with_keys, unpack_arrived_vtpm
from services.esxi.vms.vm import RegisteredVm, queue_of

PART_SIZE: Final = 32_768
"""Bytes of memory in one message."""


def cipher_of(stream: StreamKey | None, material: Sealed | None) -> StreamCipher | None:
    """The cipher of a stream; None: the stream is in clear. ``InvalidArgument`` for half of a
    key."""
    if stream is None and material is None:
        return None
    if stream is None or material is None or len(material.keys) != 1:
        raise InvalidArgument("stream, material: a stream has one key, and its nonce base")
    return StreamCipher(material.keys[0], stream.nonce_base)


def parts(data: bytes) -> Iterator[tuple[int, bytes, bool]]:
    """Number, bytes, and whether it is the last, of each part; at least one part."""
    count = max(1, -(-len(data) // PART_SIZE))
    for number in range(count):
        part = data[number * PART_SIZE : (number + 1) * PART_SIZE]
        yield number, part, number == count - 1


def part_aad(vm: VmName, migration: str, number: int, *, last: bool) -> bytes:
    """The context that a part is sealed for: it does not open elsewhere, or as another part."""
    return f"keystead migration|{vm}|{migration}|{number}|{'last' if last else 'more'}".encode()


RETRY_S: Final = 1.0
"""How long the source waits before it tries the lock again that the target holds."""


async def migrate_vm(host: EsxiHost, message: HostMigrateVm) -> VmMigrated:
    """Move the VM in the steps of this module, in the VM's turn. A repeat returns the outcome of
    the first call.

    When it is refused, the VM continues to run here. ``InvalidState`` when the VM runs neither here
    nor on the target: the next host that starts it has it.
    """
    before = host.migrations.left.get(message.vm)
    if before is not None and before.migration == message.migration:
        if before.done is None:
            raise InvalidState(before.refusal)
        return before.done
    vm = host.require_vm(message.vm)
    if vm.guest is None or vm.config is None:
        raise InvalidPowerState(f"{vm.name} is not running on {host.node.name}")
    outcome = host.migrations.left[vm.name] = MigrationOutcome(
        message.migration, refusal="it was cut off"
    )
    try:
        outcome.done = await _move_guest(host, vm, vm.guest, message)
    except ProductError as error:
        outcome.refusal = str(error)
        host.node.record(
            "vm.refused",
            level="warning",
            vm=vm.name,
            command="migrate",
            error=type(error).__name__,
            reason=str(error),
            missing=[],
        )
        raise
    await _remove_registration(host, vm.name)
    return outcome.done


async def _move_guest(
    host: EsxiHost, vm: RegisteredVm, guest: RunningGuest, message: HostMigrateVm
) -> VmMigrated:
    began = host.clock.monotonic()
    memory = pack_memory(guest.freeze())
    await _send_memory(host, message, memory)
    await _write_offer(host, vm, message)
    try:
        await host.datastore.unlock(vm.name)
        await host.ports.bus.request(
            message.target,
            SwitchOver(vm=vm.name, migration=message.migration),
            within_s=host.node.knobs.request_timeout_s,
        )
    except (ProductError, OSError) as error:
        if await _take_back_vm(host, vm, message):
            raise _build_refusal(error) from None
    vm.guest = None
    gap_s = host.clock.monotonic() - began
    host.node.record(
        "vm.migrated_out",
        vm=vm.name,
        target=message.target,
        migration=message.migration,
        gap_s=round(gap_s, 6),
        size=len(memory),
    )
    return VmMigrated(gap_s=gap_s, size=len(memory))


async def _send_memory(host: EsxiHost, message: HostMigrateVm, memory: bytes) -> None:
    """Send the memory. After any failure the guest is still here and resumes."""
    cipher = cipher_of(message.stream, message.material)
    for number, part, last in parts(memory):
        if cipher is not None:
            aad = part_aad(message.vm, message.migration, number, last=last)
            part = cipher.seal_part(number, part, aad)
        await host.ports.bus.request(
            message.target,
            SendMemory(
                vm=message.vm, migration=message.migration, number=number, data=part, last=last
            ),
            within_s=host.node.knobs.request_timeout_s,
        )


async def _write_offer(host: EsxiHost, vm: RegisteredVm, message: HostMigrateVm) -> None:
    """Write the offer while the lock is held: the next host that takes the lock finds it."""
    config = await read_config(host.datastore, vm.name)
    await write_config(host.datastore, msgspec.structs.replace(config, offer=_build_offer(message)))


def _build_offer(message: HostMigrateVm) -> MigrationOffer:
    return MigrationOffer(message.migration, message.target)


async def _take_back_vm(host: EsxiHost, vm: RegisteredVm, message: HostMigrateVm) -> bool:
    """After a refusal, or without an answer: take the lock back, and check who had it meanwhile.

    True: no host took the offer; the guest resumes here. False: the target holds the lock and
    removed the offer, so the guest runs there. ``InvalidState``: another host had the VM meanwhile,
    or its configuration cannot be read or written now; the guest is gone, and the VM can be
    started.
    """
    try:
        if not await _take_back_lock(host, vm, message):
            return False
        config = await read_config(host.datastore, vm.name)
        if config.offer == _build_offer(message):
            await write_config(host.datastore, msgspec.structs.replace(config, offer=None))
            return True
        why = f"{message.target} had taken it over, and does not run it any more"
    except ProductError as error:
        why = str(error)
    vm.guest = None
    with suppress(DatastoreFault):
        await release_lock(host.datastore, vm.name)
    host.node.record("vm.powered", vm=vm.name, power=PowerState.OFF.value)
    raise InvalidState(f"{vm.name} is not running: {why}")


async def _take_back_lock(host: EsxiHost, vm: RegisteredVm, message: HostMigrateVm) -> bool:
    """False: the target has the lock and the VM. While the target holds the lock and the offer is
    there, the target may still fail, and no host would run the guest. So this host waits as long as
    a target may take."""
    until = host.clock.monotonic() + LIMIT_REQUESTS * host.node.knobs.request_timeout_s
    while True:
        try:
            await take_lock(host.datastore, vm.name)
        except ProductError:
            if (
                await _find_lock_holder(host, vm.name) != message.target
                or host.clock.monotonic() > until
            ):
                raise
            if (await read_config(host.datastore, vm.name)).offer != _build_offer(message):
                return False
            await host.clock.sleep(RETRY_S)
        else:
            return True


async def _find_lock_holder(host: EsxiHost, name: VmName) -> str:
    try:
        return (await host.datastore.holders([name])).get(name, "")
    except OSError:
        return ""


def _build_refusal(error: ProductError | OSError) -> ProductError:
    if isinstance(error, OSError):
        return DatastoreFault(error.strerror or str(error))
    if isinstance(error, NotSent | Refused):
        return error
    return InvalidState(f"the target did not take it over: {error}")


async def _remove_registration(host: EsxiHost, name: VmName) -> None:
    """The target has the VM: remove the registration. If the disk fails, it stays, which does no
    harm."""
    try:
        await registration.unregister_vm(host, name)
    except ProductError as error:
        host.node.record("vm.untidy", level="warning", vm=name, reason=str(error))


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
