"""What stands on which machine, and which datastores machines share; made from a Lab file.

A machine that joins reads ``SharedArray`` in its bundle, and no Lab file: what reads those is
imported by who makes the plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from protocol.messages.agent import NodeSpec
from protocol.terms import ClusterName, NodeName

if TYPE_CHECKING:
    from lab.topology.lab_file import LabFile
    from lab.topology.model import MachineModel


class SharedArray(msgspec.Struct, frozen=True):
    """A datastore in a folder that machines share; ``folder`` empty: they say where it is."""

    name: str
    folder: str = ""


class MachinePlan(msgspec.Struct, frozen=True, kw_only=True):
    """Another machine: the ``nodes`` there, and the numbers (from 1) of the processes, which are
    whole groups of the topology; ``arrays`` are the datastores whose files lie there, of which
    ``shared`` lie in a shared folder. ``pool`` is what it asked for its place; no start of the lab
    waits for such a machine. Hosts that are added to one of ``clusters`` come there; ``later`` are
    the processes of those that have come so, which no bundle had when they came. ``address`` is
    that of its gate, or empty."""

    machine: str
    lease_s: float
    nodes: tuple[NodeName, ...]
    processes: tuple[int, ...]
    arrays: tuple[str, ...]
    shared: tuple[SharedArray, ...] = ()
    pool: str = ""
    clusters: tuple[ClusterName, ...] = ()
    later: tuple[int, ...] = ()
    address: str = ""


class PoolPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Hosts of ``cluster`` that come with machines which ask for a place: ``lab.topology.plan``.
    ``shared`` are the datastores in the folder that these machines share."""

    pool: str
    lease_s: float
    cluster: ClusterName
    shared: tuple[SharedArray, ...]


def machine_plan(
    model: MachineModel,
    file: LabFile,
    specs: Sequence[NodeSpec],
    groups: Sequence[tuple[NodeName, ...]],
) -> MachinePlan:
    from lab.topology.model import array_of, services_in

    named = {*model.nodes, *services_in(file, model.clusters)}
    there = {s.node for s in specs if s.cluster in model.clusters or s.node in named}
    processes = tuple(n for n, group in enumerate(groups, 1) if group[0] in there)
    clusters = {spec.cluster for spec in specs if spec.node in there}
    arrays = tuple(array_of(c) for c in file.clusters if c.name in clusters)
    return MachinePlan(
        machine=model.name,
        lease_s=model.lease_s,
        nodes=tuple(node for n in processes for node in groups[n - 1]),
        processes=processes,
        arrays=arrays,
        shared=_list_shared(file, arrays),
        clusters=tuple(ClusterName(name) for name in model.clusters),
        address=model.address,
    )


def with_later(plan: MachinePlan, number: int, node: NodeName) -> MachinePlan:
    """The machine with a host that was added there, in the process of that number."""
    return msgspec.structs.replace(
        plan,
        nodes=(*plan.nodes, node),
        processes=(*plan.processes, number),
        later=(*plan.later, number),
    )


def pool_plan(model: MachineModel, file: LabFile) -> PoolPlan:
    """The hosts that come with machines which ask for a place."""
    from lab.topology.model import array_of

    return PoolPlan(
        pool=model.name,
        lease_s=model.lease_s,
        cluster=ClusterName(model.clusters[0]),
        shared=_list_shared(
            file, (array_of(c) for c in file.clusters if c.name in model.clusters), always=True
        ),
    )


def _list_shared(
    file: LabFile, arrays: Iterable[str], *, always: bool = False
) -> tuple[SharedArray, ...]:
    """Those of ``arrays`` that lie in a shared folder, each once; ``always``: all of them."""
    folders = {one.name: one.folder for one in file.datastores}
    return tuple(
        SharedArray(name, folders.get(name, ""))
        for name in dict.fromkeys(arrays)
        if always or name in folders
    )


def list_shared_here(file: LabFile) -> tuple[SharedArray, ...]:
    """Those in a shared folder that clusters have which stand where ``up`` runs."""
    from lab.topology.model import array_of

    elsewhere = {name for machine in file.machines for name in machine.clusters}
    return _list_shared(file, (array_of(c) for c in file.clusters if c.name not in elsewhere))
