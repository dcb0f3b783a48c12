"""VMs that change their host: migrated, or taken out of the inventory and registered elsewhere.

A VM that cannot be started because its lock is held while no host runs it is told (``kept``).
"""

from __future__ import annotations

from typing import Any, Final

from chaos.draws import Draws
from chaos.lab import LabUnderTest
from chaos.observe.look import LabLook, nodes_of
from chaos.observe.vcenters import leaders
from chaos.workload.base import WITHIN_S, Arrival, Means, OperationOutcome, WorkloadOperation
from protocol.errors import DatastoreFault, NotFound, ProductError
from protocol.messages.base import Request
from protocol.messages.vcenter import (
    MigrateVm,
    PowerOffVm,
    PowerOnVm,
    RegisterVm,
    RelocateVm,
    ServiceLocator,
    UnregisterVm,
    VmInfo,
    VmRelocated,
)
from protocol.terms import HostConnectionState, NodeName, PowerState, Role, VmName

_RELOCATED: Final = 0.5  # of the migrations in a lab with several vCenters
LOCK_PATIENCE_S: Final = 15.0
"""Lab seconds after which a lock that nobody needs is given back."""


async def _ask(means: Means, about: str, message: Request[Any]) -> Any:
    """Of the vCenter of ``about``, a host or a cluster."""
    return await means.lab.ask(await means.vcenter(about), message, within_s=WITHIN_S)


async def fetch_vm(lab: LabUnderTest, vm: VmName) -> VmInfo:
    """What vCenter says of it; ``NotFound`` when it does not say."""
    found = (await LabLook(lab).vcenter_vms()).get(vm)
    if found is None:
        raise NotFound(f"vCenter has no {vm}")
    return found


async def other_hosts(lab: LabUnderTest, info: VmInfo) -> tuple[NodeName, ...]:
    """Hosts of its cluster that are connected, and not its own, by name; ``NotFound``: none is."""
    of_cluster = {entry.node for entry in lab.directory().nodes if entry.cluster == info.cluster}
    hosts = [
        host
        for host, seen in (await LabLook(lab).vcenter_hosts()).items()
        if host in of_cluster
        and host != info.host
        and seen.connection is HostConnectionState.CONNECTED
    ]
    if not hosts:
        raise NotFound(f"no other host of {info.cluster} is connected")
    return tuple(sorted(hosts))


async def hosts_of_vcenter(lab: LabUnderTest, vcenter: NodeName) -> tuple[NodeName, ...]:
    """Hosts of that vCenter that are connected to it, by name; ``NotFound``: none is."""
    of_it = {entry.node for entry in lab.directory().nodes if entry.vcenter == vcenter}
    seen = await LabLook(lab).vcenter_hosts()
    connected = HostConnectionState.CONNECTED
    hosts = [host for host in sorted(of_it & set(seen)) if seen[host].connection is connected]
    if not hosts:
        raise NotFound(f"no host of {vcenter} is connected")
    return tuple(hosts)


async def _elsewhere(means: Means, info: VmInfo, arrival: Arrival) -> NodeName:
    hosts = await other_hosts(means.lab, info)
    return hosts[Draws(arrival.number, f"move/{arrival.target}").below(len(hosts))]


def migration_outcome(done: VmRelocated) -> OperationOutcome:
    """Where a VM is by the answer to a migration, and whether its guest went along."""
    return OperationOutcome(
        "ok", {"host": str(done.vm.host), "ran": done.vm.power is PowerState.ON}
    )


async def _migrate(means: Means, arrival: Arrival) -> OperationOutcome:
    """vMotion of one that runs; one that is off is registered elsewhere. Where the lab has several
    vCenters, every other one goes to a host of another (MOB-07)."""
    vm = VmName(arrival.target)
    others = [one for one in leaders(means.lab) if one != await means.vcenter(vm)]
    draws = Draws(arrival.number, f"relocate/{arrival.target}")
    if others and draws.unit() < _RELOCATED:
        return await _relocate(means, vm, others[draws.below(len(others))], draws)
    host = await _elsewhere(means, await fetch_vm(means.lab, vm), arrival)
    return migration_outcome(await _ask(means, host, MigrateVm(vm=vm, host=host)))


async def _relocate(means: Means, vm: VmName, vcenter: NodeName, draws: Draws) -> OperationOutcome:
    hosts = await hosts_of_vcenter(means.lab, vcenter)
    message = RelocateVm(
        vm=vm, service=ServiceLocator(vcenter=vcenter), host=hosts[draws.below(len(hosts))]
    )
    return migration_outcome(
        await means.lab.ask(await means.vcenter(vm), message, within_s=WITHIN_S)
    )


async def _move(means: Means, arrival: Arrival) -> OperationOutcome:
    """Off, out of the inventory, into it on another host, and on."""
    vm = VmName(arrival.target)
    info = await fetch_vm(means.lab, vm)
    host = await _elsewhere(means, info, arrival)
    await _ask(means, host, PowerOffVm(vm=vm))
    try:
        await _ask(means, host, UnregisterVm(vm=vm))
        await _ask(means, host, RegisterVm(vm=vm, cluster=info.cluster, host=host))
    except ProductError as error:
        return OperationOutcome("info", {"off": True, "error": type(error).__name__})
    return await _start_vm(means, vm, host)


async def _restart(means: Means, arrival: Arrival) -> OperationOutcome:
    """What high availability does: the VM of a host that vCenter has lost runs elsewhere."""
    vm = VmName(arrival.target)
    info = await fetch_vm(means.lab, vm)
    hosts = await LabLook(means.lab).vcenter_hosts()
    there = hosts.get(info.host)
    if there is None or there.connection is HostConnectionState.CONNECTED:
        return OperationOutcome("fail", {"error": "its host is connected"})
    host = await _elsewhere(means, info, arrival)
    await _ask(means, host, RegisterVm(vm=vm, cluster=info.cluster, host=host))
    return await _start_vm(means, vm, host)


async def _start_vm(means: Means, vm: VmName, host: NodeName) -> OperationOutcome:
    """Power it on; where its lock is in the way, a while later once more."""
    about: dict[str, Any] = {"host": str(host)}
    for attempt in range(2):
        idle = attempt and await _runs_nowhere(means, vm)
        try:
            await _ask(means, host, PowerOnVm(vm=vm))
        except DatastoreFault as error:
            if attempt and idle and await _runs_nowhere(means, vm):
                return OperationOutcome("info", {**about, "off": True, "kept": str(error)})
            about["error"] = type(error).__name__
            await means.lab.sleep(0 if attempt else LOCK_PATIENCE_S)
        except ProductError as error:
            return OperationOutcome("info", {**about, "off": True, "error": type(error).__name__})
        else:
            return OperationOutcome("ok", {"host": str(host)})
    return OperationOutcome("info", {**about, "off": True})


async def _runs_nowhere(means: Means, vm: VmName) -> bool:
    """Whether every host there is answers, and none of them runs it."""
    hosts = await LabLook(means.lab).hosts()
    running = [
        seen
        for summary in hosts.values()
        for seen in summary.vms
        if seen.vm == vm and seen.power is PowerState.ON
    ]
    return len(hosts) == len(nodes_of(means.lab, Role.ESXI)) and not running


OPERATIONS: Final = (
    WorkloadOperation("vm.migrate", "vms", "migrate a VM to another host while it runs", _migrate),
    WorkloadOperation(
        "vm.move", "vms", "power a VM off, register it on another host, power it on", _move
    ),
    WorkloadOperation(
        "vm.restart",
        "vms",
        "register a VM whose host is not connected on another one, and power it on",
        _restart,
    ),
)
