"""A later release on hosts: put into the boot bank, and booted."""

from __future__ import annotations

from msgspec.structs import replace

from lab.api import commands
from lab.api.answers import HostPowerList
from lab.api.answers.base import MachineState
from lab.api.hosts import one_by_one, settled
from lab.api.session import Session
from protocol.errors import InvalidState, NotAvailable
from protocol.messages.agent import NodeRunState, NodeStatus
from protocol.messages.host import QueryHost
from protocol.releases import Release, release_of, written
from protocol.terms import NodeName, Role


async def upgrade(session: Session, command: commands.HostUpgrade) -> HostPowerList:
    """See ``HostUpgrade``; every host is looked at before the first one is changed.

    What is installed is written down first: it is on the host, whatever ends the lab.
    """
    release, lab = release_of(command.release), session.lab
    nodes = session.nodes(command.hosts)
    there = [node for node in nodes if await _has_it(session, node, release)]

    async def install(node: NodeName) -> NodeStatus:
        status = await lab.status(node)
        if node in there:
            return status
        firmware = await lab.firmware_of(node)
        session.installed(node, written(release))
        await lab.firmware(node, replace(firmware, release=written(release)))
        if status.state is NodeRunState.OFF:
            return status
        await lab.power_off(node, "stop")
        return await lab.power_on(node, {})

    done = await one_by_one(session, nodes, f"install {release} on", install)
    await settled(
        session, tuple(row.host for row in done.items if row.machine is MachineState.RUNNING)
    )
    return done


async def _has_it(session: Session, node: NodeName, release: Release) -> bool:
    """Whether nothing is left to do on this host; raises when it cannot have that release."""
    lab = session.lab
    spec = lab.spec(node)
    if spec.role is not Role.ESXI:
        raise NotAvailable(f"{node} is no host: only hosts are upgraded here")
    now = release_of((await lab.firmware_of(node)).release or _version(spec.config))
    if release < now:
        raise NotAvailable(f"{node} has {now}: going back to {release} is not built (UPG-02)")
    newest = newest_of(session, node)
    if release > newest:
        raise InvalidState(f"{lab.vcenter_of(node)} has {newest}: it manages no hosts of {release}")
    if (await lab.status(node)).state is NodeRunState.OFF:
        return release == now
    summary = (await session.ask(node, QueryHost(vms=False))).summary
    if release == now == release_of(summary.version):
        return True
    if not summary.in_maintenance_mode:
        raise InvalidState(f"{node} is not in maintenance mode")
    return False


def newest_of(session: Session, host: NodeName) -> Release:
    """The newest release that this host may be of: that of its vCenter."""
    return release_of(_version(session.lab.spec(session.lab.vcenter_of(host)).config))


def _version(config: dict[str, object]) -> str:
    return str(config["version"])
