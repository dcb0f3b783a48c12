"""Releases on hosts: a later one put into the boot bank, and the one before taken back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

from msgspec.structs import replace

from lab.schema import commands
from lab.schema.answers import HostPowerList
from lab.schema.answers.base import MachineState
from lab.serve.hosts import one_by_one, wait_for_inventory
from lab.serve.session import LabSession, executes
from lab.serve.vms.vms import list_all_vms
from protocol.errors import InvalidState, NotAvailable, ProductError
from protocol.messages.agent import BootBanks, NodeRunState, NodeStatus
from protocol.messages.host.session import QueryHost
from protocol.releases import Release, format_release, release_of
from protocol.terms import NodeName, Role


@executes
async def upgrade(session: LabSession, command: commands.HostUpgrade) -> HostPowerList:
    """See ``HostUpgrade``; every host is looked at before the first one is changed."""
    release = release_of(command.release)
    nodes = session.nodes(command.hosts)
    there = [node for node in nodes if await _has_it(session, node, release)]

    async def install(node: NodeName) -> NodeStatus:
        status = await session.lab.status(node)
        if node in there:
            return status
        had = (await session.lab.firmware_of(node)).banks
        other, until = format_release(await _release(session, node)), status.boot
        if had.other and had.until == status.boot:  # what was installed last has never booted
            other, until = had.other, had.until
        banks = BootBanks(release=format_release(release), other=other, until=until)
        return await _install_and_boot(session, status, banks)

    return await _each(session, nodes, f"install {release} on", install)


@executes
async def rollback(session: LabSession, command: commands.HostRollback) -> HostPowerList:
    """See ``HostRollback``; every host is looked at before the first one is changed."""
    nodes = session.nodes(command.hosts)
    for node in nodes:
        _check_is_host(session, node)
        if not (await session.lab.firmware_of(node)).banks.other:
            raise InvalidState(f"{node} has no other release to go back to: none was installed")
        if (await session.lab.status(node)).state is NodeRunState.RUNNING:
            await _check_maintenance(session, node)

    async def go_back(node: NodeName) -> NodeStatus:
        banks, status = (await session.lab.firmware_of(node)).banks, await session.lab.status(node)
        back = BootBanks(release=banks.other, until=status.boot, rolled_back=True)
        return await _install_and_boot(session, status, back)

    done = await _each(session, nodes, "go back on", go_back)
    with suppress(ProductError):  # vCenter may be away
        await list_all_vms(session)
    return done


async def _each(
    session: LabSession,
    nodes: tuple[NodeName, ...],
    text: str,
    act: Callable[[NodeName], Awaitable[NodeStatus]],
) -> HostPowerList:
    done = await one_by_one(session, nodes, text, act)
    running = [row.host for row in done.items if row.machine is MachineState.RUNNING]
    await wait_for_inventory(session, tuple(running))
    return done


async def _install_and_boot(
    session: LabSession, status: NodeStatus, banks: BootBanks
) -> NodeStatus:
    """The host with these images; booted, unless it was off.

    What is installed is written down first: it is on the host, whatever ends the lab.
    """
    lab, node = session.lab, status.node
    session.installed(node, banks)
    await lab.firmware(node, replace(await lab.firmware_of(node), banks=banks))
    if status.state is NodeRunState.OFF:
        return status
    await lab.power_off(node, "stop" if status.state is NodeRunState.RUNNING else "power_loss")
    return await lab.power_on(node, {})


async def _has_it(session: LabSession, node: NodeName, release: Release) -> bool:
    """Whether nothing is left to do on this host; raises when it cannot have that release."""
    lab = session.lab
    _check_is_host(session, node)
    now = await _release(session, node)
    if release < now:
        raise InvalidState(
            f"{node} has {now}, and {release} is older: a host goes back to the release that it "
            "had before, if there is one (host rollback)"
        )
    newest = newest_of(session, node)
    if release > newest:
        raise InvalidState(f"{lab.vcenter_of(node)} has {newest}: it manages no hosts of {release}")
    status, banks = await lab.status(node), (await lab.firmware_of(node)).banks
    if release > now and banks.rolled_back and banks.until == status.boot:
        raise InvalidState(f"{node} goes back to {now} at its next boot: power it on first")
    if status.state is NodeRunState.OFF:
        if release > now and status.screen:
            raise InvalidState(
                f"{node} has not come up with {now}: cure that, or take it back (host rollback), "
                "before another release is installed"
            )
        return release == now
    summary = (await session.ask(node, QueryHost(vms=False))).summary
    if release == now == release_of(summary.version):
        return True
    await _check_maintenance(session, node)
    return False


def _check_is_host(session: LabSession, node: NodeName) -> None:
    if session.lab.spec(node).role is not Role.ESXI:
        raise NotAvailable(f"{node} is no host: only hosts are upgraded here")


async def _check_maintenance(session: LabSession, node: NodeName) -> None:
    if not (await session.ask(node, QueryHost(vms=False))).summary.in_maintenance_mode:
        raise InvalidState(f"{node} is not in maintenance mode")


async def _release(session: LabSession, node: NodeName) -> Release:
    """What its boot bank has: that of its installation, or what a command has put there."""
    banks = (await session.lab.firmware_of(node)).banks
    return release_of(banks.release or _version(session.lab.spec(node).config))


def newest_of(session: LabSession, host: NodeName) -> Release:
    """The newest release that this host may be of: that of its vCenter."""
    return release_of(_version(session.lab.spec(session.lab.vcenter_of(host)).config))


def _version(config: dict[str, object]) -> str:
    return str(config["version"])
