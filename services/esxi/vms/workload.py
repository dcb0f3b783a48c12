"""The work of running guests: each reads, verifies and rewrites at its own pace.

A guest that finds wrong data faults, whether or not it is observed.
"""

from __future__ import annotations

from protocol.errors import GuestFault, ProductError
from services.esxi.host import EsxiHost
from services.esxi.vms.guest import RunningGuest
from services.esxi.vms.vm import queue_of


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
