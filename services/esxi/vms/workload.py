"""The work of running guests: each reads, verifies and rewrites in its own rhythm.

A guest that finds its data wrong faults, visibly, whoever is looking or not.
"""

from __future__ import annotations

from protocol.errors import GuestFault
from services.esxi.host import Host
from services.esxi.vms.guest import Guest
from services.esxi.vms.registration import turn_of


async def workload(host: Host) -> None:
    """For the rest of this life, every ``workload_period_s`` lab seconds."""
    period = host.node.knobs.workload_period_s
    if period <= 0:
        return
    async for _ in host.clock.every(period, period / 10):
        for entry in host.running():
            async with host.node.turn(turn_of(entry.vm)):
                if entry.guest is not None and not entry.guest.fault:
                    await _step(host, entry.guest)


async def _step(host: Host, guest: Guest) -> None:
    try:
        await guest.work()
    except GuestFault as fault:
        host.node.record("vm.guest_fault", level="error", vm=guest.config.vm, reason=str(fault))
