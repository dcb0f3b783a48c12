"""What comes into inventories and leaves them, asked of vCenter as a vSphere client would, or of
a host as its administrator (``on_host``)."""

from __future__ import annotations

from typing import Any

import msgspec

from chaos.observe.look import all_hosts, all_vms
from lab.schema import commands
from lab.schema.answers import (
    Host,
    HostList,
    HostRemoval,
    HostRemovalList,
    Vm,
    VmRemoval,
    VmRemovalList,
)
from lab.schema.errors import KeysteadError
from lab.schema.refusal import refusal, row_of_refusal
from lab.serve.machines import fetch_node, node_view
from lab.serve.session import LabSession, executes
from lab.serve.views import host_view, vm_at, vm_view
from lab.serve.vms.vms import list_all_vms
from protocol.errors import NotFound, ProductError
from protocol.messages.agent import NodeRunState, NodeSpec
from protocol.messages.base import Request
from protocol.messages.host.vms import HostRegisterVm, HostUnregisterVm
from protocol.messages.vcenter.inventory import (
    AddHost,
    DisconnectHost,
    EnterMaintenanceMode,
    ExitMaintenanceMode,
    ReconnectHost,
    RemoveHost,
)
from protocol.messages.vcenter.vms import DestroyVm, RegisterVm, UnregisterVm
from protocol.terms import NodeName, VmName

TASK_S = 60.0  # lab seconds for a task of vCenter

# ---- VMs ---------------------------------------------------------------------------------


@executes
async def register_vm(session: LabSession, command: commands.VmRegister) -> Vm:
    """See ``VmRegister``."""
    lab = session.lab
    host = session.host(command.host) if command.host else None
    if command.on_host and host is not None:
        own = HostRegisterVm(vm=VmName(command.vm))
        found = (await session.ask(host, own, within_s=TASK_S)).summary
        lab.know_vm(found.vm)
        return vm_at(host, lab.spec(host).cluster, found)
    cluster = session.cluster(command.cluster, host)
    message = RegisterVm(vm=VmName(command.vm), cluster=cluster, host=host)
    registered = await session.ask(session.at_cluster(cluster).vcenter, message, within_s=TASK_S)
    lab.know_vm(registered.vm.vm)
    return vm_view(registered.vm)


@executes
async def unregister_vms(session: LabSession, command: commands.VmUnregister) -> VmRemovalList:
    """See ``VmUnregister``."""
    if command.on_host:
        return await _unregister_at(session, command.vms, session.host(command.host))
    return await _remove_vms(session, command.vms, lambda vm: UnregisterVm(vm=vm))


async def _unregister_at(
    session: LabSession, selectors: tuple[str, ...], host: NodeName
) -> VmRemovalList:
    """The lab still knows these VMs: they may be registered elsewhere, and their files stay."""
    items: list[VmRemoval] = []
    for vm in session.vms(selectors):
        try:
            await session.ask(host, HostUnregisterVm(vm=vm), within_s=TASK_S)
        except ProductError as error:
            failure = refusal(error)
            items.append(VmRemoval(vm=vm, host=host, **row_of_refusal(failure)))
        else:
            items.append(VmRemoval(vm=vm, host=host))
    return VmRemovalList(items=tuple(items))


@executes
async def destroy_vms(session: LabSession, command: commands.VmDestroy) -> VmRemovalList:
    """See ``VmDestroy``."""
    return await _remove_vms(session, command.vms, lambda vm: DestroyVm(vm=vm), with_files=True)


async def _remove_vms(
    session: LabSession, selectors: tuple[str, ...], message: Any, *, with_files: bool = False
) -> VmRemovalList:
    """``with_files``: a VM that vCenter does not have is refused, for its files may lie there."""
    lab = session.lab
    listed = {vm.vm: (vcenter, vm.host) for vcenter, vm in await list_all_vms(session)}
    items: list[VmRemoval] = []
    for vm in session.vms(selectors):
        vcenter, host = listed.get(vm, (session.vcenter, None))
        try:
            if with_files and host is None:
                raise NotFound(f"vCenter has no virtual machine {vm}: no file was deleted")
            await session.ask(vcenter, message(vm), within_s=TASK_S)
        except ProductError as error:
            failure = refusal(error)
            items.append(VmRemoval(vm=vm, host=host, **row_of_refusal(failure)))
        else:
            lab.forget_vm(vm)
            items.append(VmRemoval(vm=vm, host=host))
    return VmRemovalList(items=tuple(items))


# ---- hosts -------------------------------------------------------------------------------


@executes
async def add_host(session: LabSession, command: commands.HostAdd) -> Host:
    """See ``HostAdd``."""
    lab = session.lab
    async with session.growing:  # or two commands would give their hosts one name
        known = NodeName(command.host) in lab.hosts()
        spec = lab.spec(NodeName(command.host)) if known else _new_host(session, command)
        if command.cluster not in ("", spec.cluster):
            raise KeysteadError("KS-USE-003", f"{spec.node} is a machine of cluster {spec.cluster}")
        if not known:
            session.host_added(spec)  # first: it has the same process the next time
            try:
                await lab.add_node(spec)
            except BaseException:
                session.host_dropped(spec.node)
                raise
    status = await lab.power_on(spec.node)
    if status.state is not NodeRunState.RUNNING:
        raise KeysteadError("KS-PRODUCT-001", f"{spec.node} did not start: {status.screen}")
    message = AddHost(host=spec.node, cluster=spec.cluster)
    added = await session.ask(session.vcenter_of(spec.node), message, within_s=TASK_S)
    return host_view(added.host, node_view(status))


def _new_host(session: LabSession, command: commands.HostAdd) -> NodeSpec:
    lab = session.lab
    like = next(
        (lab.spec(h) for h in lab.hosts() if command.cluster in ("", lab.spec(h).cluster)), None
    )
    if like is None:
        raise KeysteadError("KS-USE-002", f"there is no cluster {command.cluster} with a host")
    name = command.host or f"esxi-{len(lab.hosts()) + 1:03d}"
    # Of several versions in the Lab file the last is that of all hosts that follow.
    last = [lab.spec(h) for h in lab.hosts() if lab.spec(h).cluster == like.cluster][-1]
    config = {**like.config, "version": last.config["version"]}
    return msgspec.structs.replace(like, node=NodeName(name), config=config)


@executes
async def remove_hosts(session: LabSession, command: commands.HostRemove) -> HostRemovalList:
    """See ``HostRemove``."""
    items: list[HostRemoval] = []
    for host in _hosts(session, command.hosts):
        vcenter = session.vcenter_of(host)
        listed = await all_vms(session, vcenter)
        await session.ask(vcenter, RemoveHost(host=host), within_s=TASK_S)
        items.append(HostRemoval(host=host, vms=tuple(v.vm for v in listed if v.host == host)))
    return HostRemovalList(items=tuple(items))


@executes
async def disconnect_hosts(session: LabSession, command: commands.HostDisconnect) -> HostList:
    """See ``HostDisconnect``."""
    return await _each(session, command.hosts, lambda host: DisconnectHost(host=host))


@executes
async def reconnect_hosts(session: LabSession, command: commands.HostReconnect) -> HostList:
    """See ``HostReconnect``."""
    return await _each(session, command.hosts, lambda host: ReconnectHost(host=host))


@executes
async def enter_maintenance(
    session: LabSession, command: commands.HostEnterMaintenance
) -> HostList:
    """See ``HostEnterMaintenance``."""
    evacuate = command.evacuate
    return await _each(
        session, command.hosts, lambda host: EnterMaintenanceMode(host=host, evacuate=evacuate)
    )


@executes
async def exit_maintenance(session: LabSession, command: commands.HostExitMaintenance) -> HostList:
    """See ``HostExitMaintenance``."""
    return await _each(session, command.hosts, lambda host: ExitMaintenanceMode(host=host))


async def _each(session: LabSession, selectors: tuple[str, ...], message: Any) -> HostList:
    """Ask for one after another; the hosts as vCenter has them then."""
    hosts = _hosts(session, selectors)
    for host in hosts:
        task: Request[Any] = message(host)
        await session.ask(session.vcenter_of(host), task, within_s=TASK_S)
    vcenters = dict.fromkeys(session.vcenter_of(host) for host in hosts)
    listed = {host.host: host for v in vcenters for host in await all_hosts(session, v)}
    return HostList(
        items=tuple(
            [host_view(listed[h], await fetch_node(session, h)) for h in hosts if h in listed]
        )
    )


def _hosts(session: LabSession, selectors: tuple[str, ...]) -> tuple[NodeName, ...]:
    """The hosts meant; KS-USE-002 for a node that is none."""
    return tuple(session.host(node) for node in session.nodes(selectors))
