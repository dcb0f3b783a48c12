"""Power of VMs: power-on with its search for keys, power-off, and the work of running guests, each
at its own pace.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from protocol.errors import (
    CryptographicFailure,
    DatastoreFault,
    EncryptionKeyRequired,
    GuestFault,
    InvalidState,
    ProductError,
)
from protocol.terms import HostCryptoState, PowerState, VmName
from services.esxi.host import EsxiHost
from services.esxi.keys import vm_keys
from services.esxi.providers import native
from services.esxi.providers.trusted import attestation
from services.esxi.vms import vtpm
from services.esxi.vms.file_formats import VmConfig, VmKeys, open_vm
from services.esxi.vms.files import (
    empty_unused_files,
    hold_lock,
    lock_and_keep,
    read_config,
    release_lock,
    write_config,
    write_power,
)
from services.esxi.vms.guest import SECRET_SIZE, GuestMemory, Ram, RunningGuest
from services.esxi.vms.vm import RegisteredVm, queue_of


async def power_on(host: EsxiHost, name: VmName, *, ask: bool) -> RegisteredVm:
    """Start the VM; no change when it runs. The caller holds its turn in the VM's queue.

    ``ask``: ring vCenter about missing keys and wait a moment for them (not when vCenter itself
    asks). ``EncryptionKeyRequired`` names the keys that were not found. Key resolution comes before
    the mode check, so an unsafe host without keys reports the keys.
    """
    vm = host.require_vm(name)
    if vm.guest is not None:
        return vm
    try:
        host.check_takes_vms()
        async with lock_and_keep(host.datastore, name):
            guest = await _start_guest(host, vm, ask=ask)
            async with host.protection.protecting(host.datastore, name):
                await write_power(host.datastore, name, host.power_record(PowerState.ON))
                vm.guest, vm.wanted = guest, PowerState.ON
    except ProductError as error:
        host.node.record(
            "vm.refused",
            level="warning",
            vm=name,
            command="powerOn",
            error=type(error).__name__,
            reason=str(error),
            missing=[str(key) for key in error.keys],
        )
        raise
    _record_power(host, name, PowerState.ON)
    return vm


async def power_off(host: EsxiHost, name: VmName) -> RegisteredVm:
    """Stop the VM and store that command, even when the VM is off.

    ``DatastoreFault`` when it runs on another host, which must be asked instead.
    """
    vm = host.require_vm(name)
    if vm.config is None:
        raise InvalidState(f"{name} is invalid: {vm.problem}")
    if vm.guest is not None:
        await write_power(host.datastore, name, host.power_record(PowerState.OFF))
    else:
        async with hold_lock(host.datastore, name):
            await write_power(host.datastore, name, host.power_record(PowerState.OFF))
    vm.wanted = PowerState.OFF
    await _stop_guest(host, vm)
    return vm


async def stop_all(host: EsxiHost) -> None:
    """Orderly shutdown of the host: stop every VM, see ``stop``."""
    for vm in host.running():
        await stop(host, vm.name)


async def stop(host: EsxiHost, name: VmName, *, needed: Callable[[], bool] = lambda: True) -> None:
    """Stop the VM if it runs, in its turn; its stored power command stays.

    Its lock is released only after everything that this host does with its files has ended. If the
    datastore refuses, the end of this life releases it. ``needed`` is called when the turn has
    come.
    """
    async with host.node.turn(queue_of(name)):
        vm = host.vms.get(name)
        if vm is None or not needed():
            return
        try:
            await _stop_guest(host, vm)
        except DatastoreFault as error:
            host.node.record("vm.lock_kept", level="warning", vm=name, reason=str(error))


async def _start_guest(host: EsxiHost, vm: RegisteredVm, *, ask: bool) -> RunningGuest:
    """Find the keys, check the mode, unwrap the DEKs, and let the guest verify its disk."""
    config = await read_config(host.datastore, vm.name)
    if config.offer is not None:  # of a failed migration: the frozen state is void now
        config = msgspec.structs.replace(config, offer=None)
        await write_config(host.datastore, config)
    vm.config, vm.problem = config, ""
    if config.template:
        raise InvalidState(f"{vm.name} is a template: it is not powered on")
    await empty_unused_files(host.datastore, config)
    keys = await open_vm_with_keys(host, config, ask=ask)
    ram = Ram(host.rng.token(SECRET_SIZE), secrecy=bool(config.keys))
    guest = RunningGuest(host.datastore, config, keys, ram)
    await guest.start()
    if config.vtpm is not None:
        if keys.home is None:
            raise GuestFault(f"{vm.name}: it has a virtual TPM and a home in clear")
        guest.vtpm = await vtpm.start_vtpm(vtpm_means(host), config, keys.home)
    return guest


def vtpm_means(host: EsxiHost) -> vtpm.VtpmMeans:
    """The means for the vTPMs of this host's VMs; ``NotAvailable`` on a node without."""
    return vtpm.VtpmMeans(host.virtual_tpms, host.datastore, host.rng)


async def open_vm_with_keys(host: EsxiHost, config: VmConfig, *, ask: bool) -> VmKeys:
    """The opened VM, its keys looked for by every means that applies. Faults as in ``power_on``."""
    if config.keys:
        await _bring_keys(host, config, ask=ask)
    await attestation.check_power_on(host, config.vm, config.keys)
    if not config.keys:
        return VmKeys((None,) * len(config.disks), config.nvram)
    return unwrap_deks(host, config)


async def _bring_keys(host: EsxiHost, config: VmConfig, *, ask: bool) -> None:
    """Bring every key of the VM. If only disks' keys are missing, the error names these disks
    (LOCK-03)."""
    try:
        await vm_keys.bring_keys(host, config.keys, subject=config.vm, ask=ask)
    except EncryptionKeyRequired as error:
        if config.home is not None and config.home.key in error.keys:
            raise
        disks = [
            f"{disk.label}, [{host.config.datastore}] {config.vm}/{disk.file}, is encrypted, and "
            f"the required key {disk.dek.key} was not found"
            for disk in config.disks
            if disk.dek is not None and disk.dek.key in error.keys
        ]
        raise EncryptionKeyRequired(f"{config.vm}: {'; '.join(disks)}", error.keys) from None


def unpack_arrived_vtpm(
    host: EsxiHost, config: VmConfig, keys: VmKeys, memory: GuestMemory
) -> vtpm.Vtpm | None:
    """The vTPM of a VM that arrived running, with its powered state; ``GuestFault`` without it."""
    if config.vtpm is None:
        return None
    if keys.home is None or memory.vtpm is None:
        raise GuestFault(f"{config.vm}: its virtual TPM did not come along")
    return vtpm.Vtpm.take_over(vtpm_means(host), config, keys.home, memory.vtpm)


def unwrap_deks(host: EsxiHost, config: VmConfig) -> VmKeys:
    """The VM's DEKs. A derived key that does not open them is not this VM's (NKP-18). That is
    reported before the mode is checked: a host that lacks a key says so, safe or not."""
    keks = {key: kek for key in config.keys if (kek := host.keys.get(key)) is not None}
    gone = tuple(key for key in config.keys if key not in keks)
    if gone:
        raise EncryptionKeyRequired(f"{config.vm}: a key left the cache", gone)
    try:
        opened = open_vm(config, keks)
    except CryptographicFailure:
        if wrong := native.disprove_keys(host, config.keys):
            text = f"{config.vm}: derived keys are not those that it was encrypted under"
            raise EncryptionKeyRequired(text, wrong) from None
        raise GuestFault(f"{config.vm}: its wrapped DEK does not open under its key") from None
    if host.mode is not HostCryptoState.SAFE:
        raise InvalidState(f"{host.node.name} is {host.mode.value}, not safe")
    return opened


async def _stop_guest(host: EsxiHost, vm: RegisteredVm) -> None:
    if vm.guest is None:
        return
    vm.guest = None
    try:
        await release_lock(host.datastore, vm.name)
    except DatastoreFault:
        _record_power(host, vm.name, PowerState.OFF)  # it is off all the same
        raise
    _record_power(host, vm.name, PowerState.OFF)


def _record_power(host: EsxiHost, vm: VmName, power: PowerState) -> None:
    host.node.record("vm.powered", vm=vm, power=power.value)


async def run_workload(host: EsxiHost) -> None:
    """Run for the rest of this life, every ``workload_period_s`` lab seconds; never when it is
    0."""
    period_s = host.node.knobs.workload_period_s
    if period_s <= 0:
        return
    async for _ in host.clock.every(period_s, period_s / 10):
        for vm in host.running():
            async with host.node.turn(queue_of(vm.name)):
                if vm.guest is not None and not vm.guest.fault:
                    await _run_step(host, vm.guest)


async def _run_step(host: EsxiHost, guest: RunningGuest) -> None:
    try:
        await guest.work()
    except GuestFault as fault:
        host.node.record("vm.guest_fault", level="error", vm=guest.config.vm, reason=str(fault))
    except ProductError as error:  # the next step tries again
        host.node.record("vm.work_failed", level="warning", vm=guest.config.vm, reason=str(error))
