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
    """See ``HostUpgrade``; every host is looked at before the first one is changed."""
    release, lab = release_of(command.release), session.lab
    nodes = session.nodes(command.hosts)
    for node in nodes:
        await _check(session, node, release)

    async def install(node: NodeName) -> NodeStatus:
        status = await lab.status(node)
        firmware = await lab.firmware_of(node)
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


async def _check(session: Session, node: NodeName, release: Release) -> None:
    lab = session.lab
    spec = lab.spec(node)
    if spec.role is not Role.ESXI:
        raise NotAvailable(f"{node} is no host: only hosts are upgraded here")
    now = release_of((await lab.firmware_of(node)).release or _version(spec.config))
    if release < now:
        raise NotAvailable(f"{node} has {now}: going back to {release} is not built (UPG-02)")
    vcenter = session.vcenter_of(node)
    newest = release_of(_version(lab.spec(vcenter).config))
    if release > newest:
        raise InvalidState(f"{vcenter} has {newest}: it manages no hosts of {release}")
    if (await lab.status(node)).state is not NodeRunState.OFF:
        summary = (await session.ask(node, QueryHost(vms=False))).summary
        if not summary.in_maintenance_mode:
            raise InvalidState(f"{node} is not in maintenance mode")


def _version(config: dict[str, object]) -> str:
    return str(config["version"])
