"""The source of a migration: the guest's memory is sent, the guest stops, the lock is handed over.

1. the guest stops, in the VM's turn
2. its memory is sent, part by part, sealed
3. the offer is written and the lock released
4. the target resumes the guest, or the lock is taken back
5. the VM's registration here is removed
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import msgspec

from protocol.errors import (
    DatastoreFault,
    InvalidPowerState,
    InvalidState,
    NotSent,
    ProductError,
    Refused,
)
from protocol.messages.host import HostMigrateVm, SendMemory, SwitchOver, VmMigrated
from protocol.terms import PowerState, VmName
from services.esxi.host import EsxiHost
from services.esxi.migration.state import LIMIT_REQUESTS, MigrationOutcome
from services.esxi.migration.streams import cipher_of, part_aad, parts
from services.esxi.vms import registration
from services.esxi.vms.files import read_config, release_lock, take_lock, write_config
from services.esxi.vms.guest import RunningGuest
from services.esxi.vms.memory import pack_memory
from services.esxi.vms.vm import RegisteredVm
from services.esxi.vms.vmx import MigrationOffer

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
