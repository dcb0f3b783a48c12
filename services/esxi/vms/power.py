"""Power of VMs: the flow of power-on with its search for keys, power-off, and step B9.

The power command is kept beside the VM before it is answered, so that the next boot knows what
was wanted. A refused command is not accepted and leaves what was wanted as it was.
"""

from __future__ import annotations

from protocol.errors import (
    CryptographicFailure,
    EncryptionKeyRequired,
    GuestFault,
    InvalidState,
    ProductError,
)
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, HostCryptoState, PowerState, VmName
from services.esxi.host import Host
from services.esxi.keys.resolve import Means, next_means
from services.esxi.vms.files import locked, read_config, take_lock, tidy, write_wanted
from services.esxi.vms.guest import Guest
from services.esxi.vms.registration import registered, turn_of
from services.esxi.vms.vm import RegisteredVm
from services.esxi.vms.vmx import VmConfig, VmKeys, open_vm


async def power_on(host: Host, vm: VmName, *, ask: bool) -> RegisteredVm:
    """Start the VM; no change when it runs. Its turn is held by the caller.

    ``ask``: tell vCenter about missing keys and wait a moment for them (not when vCenter
    itself is the one that asks). ``EncryptionKeyRequired`` names what could not be found;
    key resolution comes before the mode check, so an unsafe host without keys says so.
    """
    entry = registered(host, vm)
    if entry.guest is not None:
        return entry
    try:
        await take_lock(host.datastore, vm)
        try:
            guest = await _opened(host, entry, ask=ask)
            await write_wanted(host.datastore, vm, PowerState.ON)
        except BaseException:
            await host.datastore.unlock(vm)
            raise
    except ProductError as error:
        host.node.record(
            "vm.refused",
            level="warning",
            vm=vm,
            command="powerOn",
            error=type(error).__name__,
            reason=str(error),
            missing=[str(key) for key in error.keys],
        )
        raise
    entry.guest, entry.wanted = guest, PowerState.ON
    host.node.record("vm.powered", vm=vm, power=PowerState.ON.value)
    return entry


async def power_off(host: Host, vm: VmName) -> RegisteredVm:
    """Stop the VM and remember that this was wanted, also when it was off.

    ``DatastoreFault`` when it runs on another host: what is wanted of it is asked there.
    """
    entry = registered(host, vm)
    if entry.config is None:
        raise InvalidState(f"{vm} is invalid: {entry.problem}")
    if entry.guest is not None:
        await write_wanted(host.datastore, vm, PowerState.OFF)
    else:
        async with locked(host.datastore, vm):
            await write_wanted(host.datastore, vm, PowerState.OFF)
    entry.wanted = PowerState.OFF
    await _stopped(host, entry)
    return entry


async def stop_all(host: Host) -> None:
    """The host shuts down orderly: running VMs stop, what was wanted of them stays."""
    for entry in host.running():
        await _stopped(host, entry)


async def autostart(host: Host) -> None:
    """Step B9: start VMs whose last accepted command was *on*; retry when keys arrive.

    Only within this boot's window: a key that arrives later unlocks, and starts nothing.
    """
    deadline = host.clock.monotonic() + host.node.knobs.autostart_window_s
    waiting = [e.vm for e in host.vms.values() if e.wanted is PowerState.ON]
    told: set[VmName] = set()
    while waiting:
        change = host.keys.next_change
        started, lacking = await _attempt(host, waiting)
        waiting = list(lacking)
        if host.uplink.connected:
            news = {vm for vm, keys in lacking.items() if keys and vm not in told}
            told |= news
            if started or news:
                host.node.background("autostart.ring", _ring(host))
        left = deadline - host.clock.monotonic()
        if not waiting or left <= 0:
            break
        try:
            async with host.clock.timeout(left):
                await change.wait()
        except TimeoutError:
            break
    host.node.record("boot.step", step="B9", text="autostart ended", waiting=list(waiting))


async def _attempt(
    host: Host, vms: list[VmName]
) -> tuple[bool, dict[VmName, tuple[CryptoKeyId, ...]]]:
    """Try each once; whether any started, and those for which a key or the mode may still come."""
    started = False
    lacking: dict[VmName, tuple[CryptoKeyId, ...]] = {}
    for vm in vms:
        async with host.node.turn(turn_of(vm)):
            entry = host.vms.get(vm)
            if entry is None or entry.wanted is PowerState.OFF or entry.guest is not None:
                continue
            try:
                await power_on(host, vm, ask=False)
            except (EncryptionKeyRequired, InvalidState) as error:
                lacking[vm] = error.keys
            except ProductError:
                continue  # recorded; nothing that may arrive would help
            else:
                started = True
    return started, lacking


async def _ring(host: Host) -> None:
    await host.uplink.ring()


async def _opened(host: Host, entry: RegisteredVm, *, ask: bool) -> Guest:
    """Resolve keys, check the mode, unwrap the DEKs, and let the guest verify its disk."""
    config = await read_config(host.datastore, entry.vm)
    entry.config, entry.problem = config, ""
    await tidy(host.datastore, config)
    if not config.encrypted:
        keys = VmKeys(None, config.nvram)
    else:
        await _resolve(host, config, ask=ask)
        keys = _unwrapped(host, config)
    guest = Guest(host.datastore, config, keys)
    await guest.start()
    return guest


async def _resolve(host: Host, config: VmConfig, *, ask: bool) -> None:
    """Bring every key of the VM into the cache, or raise ``EncryptionKeyRequired``."""
    missing = _from_host(host, config.keys)
    if missing and next_means(host.facts(missing[0], may_ask=ask)) is Means.ASK_VCENTER:
        try:
            async with host.clock.timeout(host.node.knobs.request_timeout_s):
                if await host.uplink.ring():
                    while missing := _from_host(host, config.keys):
                        await host.keys.next_change.wait()
        except TimeoutError:
            missing = _from_host(host, config.keys)
    if missing:
        raise EncryptionKeyRequired(
            f"{config.vm}: required keys are not in the key cache of {host.node.name}", missing
        )


def _from_host(host: Host, keys: tuple[CryptoKeyId, ...]) -> tuple[CryptoKeyId, ...]:
    """Load what the store has; the keys that this host still lacks."""
    missing: list[CryptoKeyId] = []
    for key in keys:
        match next_means(host.facts(key)):
            case Means.CACHE:
                pass
            case Means.STORE:
                host.keys.load([entry for entry in (host.stored(key),) if entry is not None])
            case _:
                missing.append(key)
    return tuple(missing)


def _unwrapped(host: Host, config: VmConfig) -> VmKeys:
    if host.mode is not HostCryptoState.SAFE:
        raise InvalidState(f"{host.node.name} is {host.mode.value}, not safe")
    try:
        return open_vm(config, *_keks(host, config))
    except CryptographicFailure:
        raise GuestFault(f"{config.vm}: its wrapped DEK does not open under its key") from None


def _keks(host: Host, config: VmConfig) -> tuple[KeyMaterial, KeyMaterial]:
    """KEKs of home and disk; ``EncryptionKeyRequired`` if one left the cache meanwhile."""
    found = tuple(host.keys.get(w.key) for w in (config.home, config.disk) if w is not None)
    match found:
        case (KeyMaterial() as home, KeyMaterial() as disk):
            return home, disk
        case _:
            raise EncryptionKeyRequired(f"{config.vm}: a key left the cache", config.keys)


async def _stopped(host: Host, entry: RegisteredVm) -> None:
    if entry.guest is None:
        return
    entry.guest = None
    await host.datastore.unlock(entry.vm)
    host.node.record("vm.powered", vm=entry.vm, power=PowerState.OFF.value)
