"""Hosts that come with machines which ask for a place: what a pool's next host is; and the topology
of a lab that goes on with them.

Places are in the order in which they were given. The first has the number after those of the Lab
file's hosts, its process the number after those of the Lab file's processes; none is given twice.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from lab.state.state_folder import LabRecord, Place
from lab.topology.lab_file import LabFile
from lab.topology.machine_plan import MachinePlan, with_later
from lab.topology.plan import Topology, VmPlan, host_name, host_spec, plan, plan_vms
from protocol.messages.agent import NodeSpec
from protocol.terms import Role


def next_place(file: LabFile, given: Sequence[Place], pool: str, machine: str) -> Place:
    """The place of a machine that has none; ``given`` are those of all pools."""
    before = sum(cluster.hosts.count for cluster in file.clusters)
    return Place(machine=machine, pool=pool, node=host_name(before + len(given) + 1))


def spec_of(file: LabFile, place: Place) -> NodeSpec:
    """The host of a place."""
    model = next(machine for machine in file.machines if machine.name == place.pool)
    cluster = next(cluster for cluster in file.clusters if cluster.name == model.clusters[0])
    return host_spec(file, cluster, int(place.node.rpartition("-")[2]))


def vms_of(file: LabFile, given: Sequence[Place], place: Place) -> list[VmPlan]:
    """The VMs that the host of a place begins with."""
    each = {
        machine.name: next(c for c in file.clusters if c.name == machine.clusters[0])
        for machine in file.machines
        if machine.pool
    }
    before = sum(cluster.vms.count for cluster in file.clusters if cluster.hosts.count)
    before += sum(each[one.pool].vms.count for one in given[: given.index(place)])
    return plan_vms(each[place.pool], [place.node], before)


def machine_of(topology: Topology, place: Place, process: int) -> MachinePlan:
    """The machine of a place; ``process`` is the number of its one process."""
    pool = next(pool for pool in topology.pools if pool.pool == place.pool)
    return MachinePlan(
        machine=place.machine,
        lease_s=pool.lease_s,
        nodes=(place.node,),
        processes=(process,),
        arrays=(),
        shared=pool.shared,
        pool=place.pool,
    )


def as_recorded(file: LabFile, record: LabRecord) -> Topology:
    """The topology of a lab that goes on: with hosts that came with their machines, or that a
    command added, each in the process that it had."""
    topology = with_places(plan(file), file, record.places or ())
    added = [msgspec.convert(raw, NodeSpec) for raw in record.hosts_added]
    first, machines = len(topology.groups) + 1, list(topology.machines)
    for number, spec in enumerate(added, first):
        for at, machine in enumerate(machines):
            if spec.cluster in machine.clusters:
                machines[at] = with_later(machine, number, spec.node)
    return msgspec.structs.replace(
        topology,
        nodes=(*topology.nodes, *added),
        groups=(*topology.groups, *((spec.node,) for spec in added)),
        machines=tuple(machines),
    )


def with_places(topology: Topology, file: LabFile, places: Sequence[Place]) -> Topology:
    """The topology with all that was given: that of a lab which goes on."""
    first = len(topology.groups) + 1
    persistent = {c.name for c in file.clusters if c.hosts.key_persistence}
    specs = [spec_of(file, place) for place in places]
    return msgspec.structs.replace(
        topology,
        nodes=(*topology.nodes, *specs),
        groups=(*topology.groups, *((place.node,) for place in places)),
        key_persistence=(
            *topology.key_persistence,
            *(spec.node for spec in specs if spec.role is Role.ESXI and spec.cluster in persistent),
        ),
        machines=(
            *topology.machines,
            *(machine_of(topology, place, first + at) for at, place in enumerate(places)),
        ),
    )
