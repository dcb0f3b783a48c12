"""Maintenance mode: a host that shall run nothing, so that it may be rebooted or taken away.

The mode is saved and outlives reboots. It refuses VMs that would come or start; what lies here and
does not run may leave, be encrypted, be unlocked. Keys come as to any host of the cluster.
"""

from __future__ import annotations

from protocol.errors import InvalidState
from services.esxi.configuration.sections import Section
from services.esxi.host import Host
from services.esxi.vms.vm import queue_of


async def enter(host: Host) -> None:
    """``InvalidState`` names the VMs that run here.

    First nothing new is started, then whatever was being started meanwhile is waited for, each
    in its VM's queue; so a VM that runs afterwards is seen.
    """
    was = host.archive.now.maintenance
    host.archive.change(maintenance=True)
    for name in list(host.vms):
        async with host.node.turn(queue_of(name)):
            pass
    running = sorted(vm.name for vm in host.running())
    if running:
        host.archive.change(maintenance=False)
        raise InvalidState(f"{host.node.name} runs {', '.join(running)}: power them off first")
    await host.archive.save(Section.MAINTENANCE)
    if not was:
        host.node.record("host.maintenance", on=True)


async def leave(host: Host) -> None:
    """No change when it is not in the mode."""
    was = host.archive.now.maintenance
    host.archive.change(maintenance=False)
    await host.archive.save(Section.MAINTENANCE)
    if was:
        host.node.record("host.maintenance", on=False)
