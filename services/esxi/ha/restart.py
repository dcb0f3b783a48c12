"""The restart of one VM of a failed host, at the host that the primary chose (HA-01).

1. take the VM's lock: no other host runs it, or will
2. check its owner, and whether it is to run
3. register it
4. power it on, as always: keys, mode, disk

The power record that step 4 writes names this host as the VM's owner.
"""

from __future__ import annotations

from protocol.errors import InvalidState, NotFound
from protocol.messages.host import HaRestartVm
from protocol.terms import NodeName, PowerState, VmName
from services.esxi.ha.ownership import owner_in
from services.esxi.host import EsxiHost
from services.esxi.vms import power, registration
from services.esxi.vms.files import lock_and_keep, read_power


async def restart_vm(host: EsxiHost, message: HaRestartVm) -> None:
    """Restart the VM. ``NotFound``: it has another owner by now, or is not to run.
    ``DatastoreFault``: its lock is held. ``InvalidState``: HA is off here, or no VM may arrive.
    Otherwise the errors of a power-on; the VM then stays registered here, and locked if keys are
    missing."""
    if host.ha is None or host.ha.epoch != message.epoch:
        raise InvalidState(f"{host.node.name} is not protected by HA, or by another one")
    known = host.vms.get(message.vm)
    if known is not None and known.guest is not None:
        return
    host.check_takes_vms()
    async with lock_and_keep(host.datastore, message.vm):
        await _check_owner(host, message.vm, message.of, message.epoch)
        await registration.register_vm(host, message.vm)
        await power.power_on(host, message.vm, ask=True)


async def _check_owner(host: EsxiHost, vm: VmName, of: NodeName, epoch: str) -> None:
    record = await read_power(host.datastore, vm)
    if record is None or record.wanted is PowerState.OFF:
        raise NotFound(f"{vm} is not to run")
    if owner_in(record, epoch) not in (None, of):
        raise NotFound(f"{vm} is the VM of {record.owner}, not of {of}")
