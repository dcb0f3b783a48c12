"""The machines that a lab stands on, as its supervisor knows them, and what the lab knows of each
node's machine, also of one that does not answer just now.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from lab.schema import commands
from lab.schema.answers import LabMachine, MachineList, MachineStanding, MachineState, Node
from lab.serve.explaining.facts import LostMachine
from lab.serve.session import LabSession, executes
from lab.serve.views import view
from protocol.errors import NotConnected, ProductError
from protocol.messages.agent import NodeStatus
from protocol.terms import NodeName, Role

if TYPE_CHECKING:
    from lab.machines.machine import MachineProcesses


@executes
async def machines(session: LabSession, command: commands.GetMachines) -> MachineList:
    """See ``GetMachines``."""
    roster, nodes = session.roster, session.lab.directory().nodes
    topology = session.lab.topology
    added = len(nodes) - len(topology.nodes)  # hosts, each in a process of its own
    there = [] if roster is None else list(roster.machines.values())
    others = tuple(map(_view, there))
    elsewhere = {name for other in others for name in other.node_names}
    here = LabMachine(
        machine="here",
        standing=MachineStanding.HERE,
        nodes=len(nodes) - sum(other.nodes for other in others),
        processes=(
            len(topology.groups) + added - sum(len(one.plan.processes) for one in there)
            if session.folder is not None
            else 1
        ),
        node_names=tuple(e.node for e in nodes if e.node not in elsewhere),
        shared=tuple(one.name for one in topology.shared),
        load=round(os.getloadavg()[0], 2) if session.folder is not None else None,
    )
    listens = "" if roster is None else roster.listens
    return MachineList(listens=listens, items=(here, *others))


def _view(machine: MachineProcesses) -> LabMachine:
    plan, now = machine.plan, time.monotonic()
    joined, known = machine.joined.is_set(), machine.offset.known
    away = LabMachine(
        machine=machine.name,
        standing=MachineStanding.AWAY,
        nodes=len(plan.nodes),
        processes=0,
        node_names=plan.nodes,
        pool=plan.pool,
        shared=tuple(one.name for one in plan.shared),
        lease_s=plan.lease_s,
    )
    if not joined or known is None:
        return away
    silent_s = now - machine.heard_s
    return msgspec.structs.replace(
        away,
        standing=MachineStanding.SILENT if machine.silent else MachineStanding.JOINED,
        processes=machine.processes,
        heard_s_ago=round(silent_s, 2),
        delay_ms=_ms(machine.delay_s),
        clock_offset_s=round(known.offset_s, 6),
        clock_error_ms=_ms(known.error_s),
        worst_error_ms=_ms(machine.worst_error_s),
        jumps=machine.offset.jumps,
        wall_offset_s=round(machine.wall_offset_s, 3),
        load=round(machine.load, 2),
    )


def find_lost_machine(session: LabSession, node: NodeName) -> LostMachine | None:
    """The machine that ``node`` stands on, if it is another one and not heard; else None."""
    stands_on = None if session.roster is None else session.roster.of_node(node)
    if stands_on is None:
        return None
    seen = _view(stands_on)
    if seen.standing is MachineStanding.JOINED:
        return None
    return LostMachine(
        machine=seen.machine,
        lease_s=stands_on.plan.lease_s,
        silent=seen.standing is MachineStanding.SILENT,
        pool=bool(seen.pool),
    )


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


DISK_REFUSED = "the disk refused"
NAMED_AT_MOST = 10  # nodes of one command that a person reads or types
CURES = {
    MachineState.PAUSED: "keystead host resume {node}",
    MachineState.OFF: "keystead host power-on {node}",
    MachineState.HALTED: "`keystead get nodes {node} -o wide` shows the screen it stands at",
    MachineState.BOOTING: "wait until it has booted: keystead get nodes",
    MachineState.GONE: "wait until its process is back: keystead get nodes",
}
"""What helps when a node that is asked something is in this state (``cure_of``)."""


def cure_of(session: LabSession, node: NodeName, state: MachineState) -> str:
    """What helps when ``node``, which is in this state, is asked something; else empty."""
    lost = find_lost_machine(session, node) if state is MachineState.GONE else None
    return CURES.get(state, "").format(node=node) if lost is None else lost.cure(node)


async def fetch_node(session: LabSession, node: NodeName) -> Node:
    """A node by its agent's last report; ``NotFound`` for a node that does not exist."""
    lab = session.lab
    paused = await lab.paused(node)
    if not paused:
        try:
            return node_view(await lab.status(node))
        except NotConnected:
            pass
    return node_view(lab.last_status(node), MachineState.PAUSED if paused else MachineState.GONE)


async def all_seen(session: LabSession) -> tuple[Node, ...]:
    """Every node in order of the topology, as ``seen``."""
    lab = session.lab
    heard = {status.node: status for status in await lab.nodes()}
    items = []
    for entry in lab.directory().nodes:
        paused = await lab.paused(entry.node)
        away = MachineState.PAUSED if paused else MachineState.GONE
        state = away if paused or entry.node not in heard else None
        node = node_view(heard.get(entry.node, lab.last_status(entry.node)), state)
        if node.role is Role.VCENTER:
            node = replace(node, version=str(lab.spec(entry.node).config.get("version", "")))
        items.append(node)
    return tuple(items)


def missing_of(nodes: Iterable[Node]) -> tuple[str, ...]:
    """Nodes that do not run, each with what it is instead: ``esxi-001: halted (its screen)``."""
    missing: list[str] = []
    for node in nodes:
        if node.state is not MachineState.RUNNING:
            lines = [line for line in (node.screen or node.ended).splitlines() if line.strip()]
            more = f" ({lines[0]})" if lines else ""
            missing.append(f"{node.node}: {node.state.value}{more}")
    return tuple(missing)


def what_starts(missing: Iterable[str], lab: str) -> str:
    """The one command after which no node of ``missing`` (as ``missing_of``) is off, in the order
    in which nodes need each other; empty when none is off."""
    states = [line.partition(": ") for line in missing]
    off = [node for node, _, state in states if state.split(" ")[0] == MachineState.OFF]
    again = "" if lab == "default" else f" --name {lab}"
    if len(off) > NAMED_AT_MOST:
        return f"`keystead down{again} && keystead up{again}` starts all nodes, state is kept"
    command = f"`keystead host power-on {' '.join(off)}{again}`"
    if any(DISK_REFUSED in state for _, _, state in states):
        return (
            f"put what its disk refused back from a copy, then {command}; `keystead down --purge"
            f"{again}` removes a lab that cannot be mended"
        )
    return f"{command} starts what is off" if off else ""


def node_view(status: NodeStatus, state: MachineState | None = None) -> Node:
    """A node's status for people; ``state`` in place of what the status says."""
    own = MachineState(status.state.value) if state is None else state
    return view(Node, status, state=own)


async def way_out(session: LabSession, error: ProductError) -> str:
    """What helps against ``error`` when it says that a node cannot be asked; else empty."""
    first = str(error).split(" ", 1)[0]
    known = [entry.node for entry in session.lab.directory().nodes]
    if not isinstance(error, NotConnected) or first not in known:
        return ""
    node = NodeName(first)
    return cure_of(session, node, (await fetch_node(session, node)).state)
