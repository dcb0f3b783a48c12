"""The machines that a lab stands on, as its supervisor knows them."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import msgspec

from lab.schema import commands
from lab.schema.answers import LabMachine, MachineList, MachineStanding
from lab.serve.executing import executes
from lab.serve.explaining.facts import LostMachine
from lab.serve.session import LabSession
from protocol.terms import NodeName

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
