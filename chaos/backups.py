"""Backups of key servers and of vCenters, as their administrator takes and restores them.

A backup is a copy of the server's disk, made and put back while the server is stopped. A server
that is started from one is told so (``restoredBackup`` at its loader): it serves although its
anchor knows more, and its audit trail has a row Restore. Of two servers that replicate both are
copied, and both restored: one that was not would bring the other up to its own state at once.
A vCenter is put back as it was, and not told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from chaos.lab import LabUnderTest
from protocol.errors import ProductError
from protocol.messages.agent import DiskAct, NodeRunState
from protocol.terms import NodeName

RESTORED_OPTION = "restoredBackup"
ACCEPT_OPTION = "acceptRollback"


def together(lab: LabUnderTest, servers: Iterable[NodeName]) -> tuple[NodeName, ...]:
    """``servers`` and those that share a provider with one of them, in order of the directory."""
    entries = lab.directory().nodes
    wanted = set(servers)
    while True:
        providers = {p for e in entries if e.node in wanted for p in e.providers}
        grown = wanted | {e.node for e in entries if providers.intersection(e.providers)}
        if grown == wanted:
            return tuple(e.node for e in entries if e.node in wanted)
        wanted = grown


async def back_up(lab: LabUnderTest, servers: Iterable[NodeName], backup: str) -> None:
    """Take a backup of nodes; those that run are stopped for it, all before the first copy."""
    await _while_off(lab, tuple(servers), DiskAct.SAVE, backup)


async def put_back(lab: LabUnderTest, nodes: Iterable[NodeName], backup: str) -> None:
    """Put a backup back; nodes that ran are started from it, those that were off stay off.

    ``NotFound`` when one of them has no backup of that name: then it is started as it was.
    """
    await _while_off(lab, tuple(nodes), DiskAct.RESTORE, backup)


async def roll_back(lab: LabUnderTest, servers: Iterable[NodeName], backup: str) -> None:
    """Put back the databases of a backup and nothing else, and tell nobody; who ran is started."""
    await _while_off(lab, tuple(servers), DiskAct.RESTORE_DATABASES, backup)


async def accept(lab: LabUnderTest, servers: Iterable[NodeName]) -> None:
    """Have servers that stand at their screen serve from the database that they found."""
    for server in servers:
        if (await lab.status(server)).state is NodeRunState.HALTED:
            await lab.power_off(server, "power_loss")
            await lab.power_on(server, {ACCEPT_OPTION: "true"})


async def _while_off(
    lab: LabUnderTest, nodes: tuple[NodeName, ...], act: DiskAct, backup: str
) -> None:
    """Do it to the disk of each; those that ran are started again, whatever came of it."""
    ran = await _stop_nodes(lab, nodes)
    try:
        for node in nodes:
            await lab.disk(node, act, backup)
    finally:
        await _start_nodes(lab, dict.fromkeys(ran))


async def restore(lab: LabUnderTest, servers: Iterable[NodeName], backup: str) -> None:
    """Put a backup back, and start the servers from it.

    ``NotFound`` when one of them has no backup of that name: then those that ran are started
    again, and those whose disks were put back before are told so.
    """
    nodes = tuple(servers)
    ran = await _stop_nodes(lab, nodes)
    restored: list[NodeName] = []
    try:
        for node in nodes:
            await lab.disk(node, DiskAct.RESTORE, backup)
            restored.append(node)
    finally:
        told = {RESTORED_OPTION: backup}
        wanted = {node: told if node in restored else None for node in nodes}
        await _start_nodes(lab, {n: how for n, how in wanted.items() if how or n in ran})


async def _start_nodes(lab: LabUnderTest, nodes: Mapping[NodeName, dict[str, str] | None]) -> None:
    """Power them on with these options, one after another. One that cannot be had again keeps no
    other off; the first error is raised when all have been tried."""
    errors: list[ProductError] = []
    for node, options in nodes.items():
        try:
            await lab.power_on(node, options)
        except ProductError as error:
            errors.append(error)
    if errors:
        raise errors[0]


async def _stop_nodes(lab: LabUnderTest, nodes: tuple[NodeName, ...]) -> tuple[NodeName, ...]:
    """Those that were not off, in order; all are off now."""
    ran = []
    for node in nodes:
        if (await lab.status(node)).state is not NodeRunState.OFF:
            ran.append(node)
    for node in ran:
        await lab.power_off(node, "stop")
    return tuple(ran)
