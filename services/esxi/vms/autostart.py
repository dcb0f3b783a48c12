"""Step B9: a booted host starts the VMs that were running."""

from __future__ import annotations

from protocol.errors import EncryptionKeyRequired, InvalidState, ProductError
from protocol.terms import CryptoKeyId, PowerState, VmName
from services.esxi.ha import ownership
from services.esxi.host import EsxiHost
from services.esxi.vms import registration
from services.esxi.vms.vm import queue_of


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
                await ownership.start_if_ours(host, name)
            except (EncryptionKeyRequired, InvalidState) as error:
                lacking[name] = error.keys
            except ProductError:
                continue  # recorded; no arrival would help
            else:
                started = True
    return started, lacking


async def _ring(host: EsxiHost) -> None:
    await host.uplink.ring()
