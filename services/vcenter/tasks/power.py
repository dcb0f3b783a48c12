"""Power and unlock of one VM. Each runs in the VM's turn.

Power on: what the host lacks is fetched and pushed first, if it can be had; then the host is
asked, and its ``EncryptionKeyRequired`` is handed on as it is. Unlocking powers nothing on.
"""

from __future__ import annotations

from protocol.errors import EncryptionKeyRequired, InvalidState, InvalidVmState
from protocol.messages.host import HostPowerOffVm, HostPowerOnVm, VmSummary
from protocol.messages.vcenter import CryptoUnlock, PowerOffVm, PowerOnVm, VmPowered
from protocol.terms import PowerState
from services.vcenter.connection import HostLink
from services.vcenter.parts import Parts


async def power_on(vc: Parts, message: PowerOnVm) -> VmPowered:
    row = vc.vm(message.vm)
    link = vc.hosts.usable(row.host)
    if row.keys and row.power is PowerState.OFF:
        await vc.push.restore(link, row.name, may_unlock=vc.node.knobs.auto_unlock)
        row = vc.vm(message.vm)
        link = vc.hosts.usable(row.host)
    try:
        state = await link.command(HostPowerOnVm(vm=row.name))
    except EncryptionKeyRequired:
        link.want_pass()  # the host lacks what we thought it has: look again, and judge
        raise
    await _learn(vc, link, state.summary)
    return VmPowered(vm=vc.vm_view(row.name))


async def power_off(vc: Parts, message: PowerOffVm) -> VmPowered:
    row = vc.vm(message.vm)
    link = vc.hosts.usable(row.host)
    state = await link.command(HostPowerOffVm(vm=row.name))
    await _learn(vc, link, state.summary)
    if row.keys:
        link.want_pass()  # DEL-01: it may have run on a key that is gone since
    return VmPowered(vm=vc.vm_view(row.name))


async def crypto_unlock(vc: Parts, message: CryptoUnlock) -> VmPowered:
    """LOCK-05. ``InvalidState``: not encrypted, or its provider is not configured."""
    row = vc.vm(message.vm)
    link = vc.hosts.usable(row.host)
    if not row.keys:
        raise InvalidState(f"{row.name} is not encrypted")
    await vc.push.restore(link, row.name, may_unlock=True)
    row = vc.vm(message.vm)
    if row.lock_event is not None:
        for key in row.missing:
            if key.provider_id not in vc.inventory.providers:
                raise InvalidState(f"key provider {key.provider_id} is not configured")
        missing = ", ".join(str(key) for key in row.missing)
        raise InvalidVmState(f"{row.name} is still locked; missing: {missing}")
    return VmPowered(vm=vc.vm_view(row.name))


async def _learn(vc: Parts, link: HostLink, summary: VmSummary) -> None:
    await vc.hosts.adopt(link, (summary,))
