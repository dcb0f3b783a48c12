"""Hosts: disconnected and reconnected, and in maintenance mode."""

from __future__ import annotations

from protocol.errors import HostUnreachable, ProductError
from protocol.messages.host import Done, HostEnterMaintenanceMode, HostExitMaintenanceMode
from protocol.messages.vcenter import (
    DisconnectHost,
    EnterMaintenanceMode,
    ExitMaintenanceMode,
    HostReconnected,
    ReconnectHost,
)
from protocol.terms import NodeName
from services.vcenter.inventory import change_host
from services.vcenter.tasks.migrate import empties_hosts, evacuate
from services.vcenter.vcenter import VCenter

FIRST_PASS_TIMEOUTS = 2.5  # request timeouts that a client waits for the first pass of step B8


async def first_pass(vc: VCenter, host: NodeName) -> None:
    """Wait a moment for the pass of the host's new session."""
    try:
        async with vc.clock.timeout(FIRST_PASS_TIMEOUTS * vc.node.knobs.request_timeout_s):
            await vc.passes.whole(host)
    except TimeoutError:
        vc.node.record("remediation.slow", level="warning", host=host)


async def disconnect_host(vc: VCenter, message: DisconnectHost) -> Done:
    """Recorded first: a restarted vCenter does not connect the host either."""
    row = vc.host(message.host)
    if not row.disconnected:
        await vc.inventory.commit(change_host(row.name, disconnected=True))
    vc.sessions.add(row.name).disconnect()
    return Done()


async def reconnect_host(vc: VCenter, message: ReconnectHost) -> HostReconnected:
    """Recorded last: the host stays disconnected until it has answered."""
    row = vc.host(message.host)
    try:
        await vc.sessions.add(row.name).reconnect()
    except ProductError as error:
        raise HostUnreachable(f"host {row.name} cannot be connected: {error}") from None
    if row.disconnected:
        await vc.inventory.commit(change_host(row.name, disconnected=False))
    await first_pass(vc, row.name)
    return HostReconnected(host=vc.host_info(vc.host(row.name)))


async def enter_maintenance_mode(vc: VCenter, message: EnterMaintenanceMode) -> Done:
    """The host refuses while VMs run on it, which are first moved on request or by DRS; it keeps
    the mode over reboots."""
    session = vc.sessions.usable(vc.host(message.host).name)
    with vc.placement.emptying(session.host):
        if message.evacuate or empties_hosts(vc, session.host):
            await evacuate(vc, session.host)
            session = vc.sessions.usable(session.host)
        await session.command(HostEnterMaintenanceMode())
        session.view.apply(in_maintenance_mode=True)
    return Done()


async def exit_maintenance_mode(vc: VCenter, message: ExitMaintenanceMode) -> Done:
    """VMs may be placed on the host again."""
    session = vc.sessions.usable(vc.host(message.host).name)
    await session.command(HostExitMaintenanceMode())
    session.view.apply(in_maintenance_mode=False)
    return Done()
