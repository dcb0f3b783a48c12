"""VMs that enter and leave the inventory: register, unregister, destroy.

Registering a VM grants its keys to the cluster, whatever vCenter knew of them before, unless they
belong to others (C28). Unregistering ends these grants. A VM that was relocated to another vCenter
is registered only when that vCenter no longer has it (decision 104).

A VM leaves the hosts that list it first, then the inventory; its keys are released in the same
transaction (STD-17). After a crash in between, no host lists the VM, and a repeated request removes
it. Hosts drop the keys soon afterwards; a host that is away drops them when it is back.
"""

from __future__ import annotations

import msgspec

from protocol import names
from protocol.authorization import Privilege
from protocol.errors import (
    AlreadyExists,
    InvalidPowerState,
    InvalidState,
    NoPermission,
    ProductError,
)
from protocol.messages.host import Done, HostDestroyVm, HostRegisterVm, HostUnregisterVm
from protocol.messages.vcenter import DestroyVm, RegisterVm, UnregisterVm, VmRegistered
from protocol.terms import PowerState, VmName
from services.vcenter import events
from services.vcenter.authorization.roles import TaskCaller
from services.vcenter.hosts.reported_vms import row_of
from services.vcenter.hosts.session import HostSession
from services.vcenter.inventory import Edit, change_vm, drop
from services.vcenter.keys.grants import end_grants, grant_keys, keys_from_vcenter
from services.vcenter.removals import cancel_releases, release_keys
from services.vcenter.tables import DatabaseTable, VmRow
from services.vcenter.tasks.departure import check_not_at_peer
from services.vcenter.vcenter import VCenter


async def register_vm(vc: VCenter, message: RegisterVm, caller: TaskCaller) -> VmRegistered:
    """REG-01: the VM is registered with its keys, or without them and locked."""
    names.VM.check(message.vm)
    vc.check_settled(message.vm)
    if message.vm not in vc.inventory.vms:
        await check_not_at_peer(vc, message.vm)
    known = vc.inventory.vms.get(message.vm)
    if known is not None and known.cluster != message.cluster:
        raise AlreadyExists(f"there is a virtual machine {known.name} in cluster {known.cluster}")
    if known is not None and vc.sessions.listing(message.vm):
        if message.host not in (None, known.host):
            raise AlreadyExists(f"{message.vm} is registered on {known.host}")
        await _register_listed(vc, known, caller)
        return VmRegistered(vm=vc.vm_info(message.vm))
    session = vc.sessions.usable(vc.placement.choose(message.cluster, message.host))
    vm = await session.command_vm(HostRegisterVm(vm=message.vm))
    try:
        await vc.sessions.check_believed(session.host, vm.vm, vm.keys)
        if vm.missing:
            caller.check((Privilege.REGISTER_VM,), f"fetching the keys of {vm.vm}")
    except (InvalidState, NoPermission):
        await session.command(HostUnregisterVm(vm=vm.vm))
        vc.sessions.lists_no_more(session.host, vm.vm)
        raise
    row = row_of(vm, session.host, vc.host(session.host).cluster)
    if known is not None and known.moving:  # hosts that are away may still list it
        hosts = tuple(dict.fromkeys((*known.moving, session.host)))
        row = msgspec.structs.replace(row, moving=hosts)
    await vc.inventory.commit(
        Edit(DatabaseTable.VM, vm.vm, lambda _: row, of_host=session.host),
        *cancel_releases(vm.keys),
        *grant_keys(vm.vm, row.cluster, keys_from_vcenter(vm.keys, vc.inventory.lock_types())),
        events=[events.vm_registered(vm.vm, session.host)],
    )
    if vm.keys:
        await _bring_keys(vc, session, vm.vm)
    return VmRegistered(vm=vc.vm_info(vm.vm))


async def _register_listed(vc: VCenter, row: VmRow, caller: TaskCaller) -> None:
    """A listed VM that no user has registered gets its keys by this (C28)."""
    if not vc.not_granted(row):
        return
    session = vc.sessions.usable(row.host)
    await vc.sessions.check_believed(session.host, row.name, row.keys)
    caller.check((Privilege.REGISTER_VM,), f"fetching the keys of {row.name}")
    await vc.inventory.commit(*grant_keys(row.name, row.cluster, vc.not_granted(row)))
    await _bring_keys(vc, session, row.name)


async def _bring_keys(vc: VCenter, session: HostSession, vm: VmName) -> None:
    """Deliver the keys to its own host now, to the others of the cluster soon (STD-12)."""
    try:
        await vc.remediation.restore(session, vm, may_unlock=vc.node.knobs.auto_unlock)
    except ProductError:
        vc.passes.cut_short(session.host)  # its next pass delivers them
    for host in vc.inventory.hosts_of(vc.host(session.host).cluster):
        if host.name != session.host:
            vc.gathered.want(host.name)


async def unregister_vm(vc: VCenter, message: UnregisterVm) -> Done:
    """The VM's files stay; a host that is away and lists it adds it again when it is back."""
    row = vc.inventory.vms.get(message.vm)
    if row is None:
        return Done()
    vc.check_settled(row.name)
    _check_off(row)
    session = vc.sessions.usable(row.host)
    await unregister_elsewhere(vc, row)
    await session.command(HostUnregisterVm(vm=row.name))
    await _leave(vc, row)
    return Done()


async def destroy_vm(vc: VCenter, message: DestroyVm) -> Done:
    """``destroying`` distinguishes a destroyed VM from one that only its host has dropped."""
    row = vc.inventory.vms.get(message.vm)
    if row is None:
        return Done()
    vc.check_settled(row.name)
    _check_off(row)
    session = vc.sessions.usable(row.host)
    if not vc.sessions.lists(row.host, row.name):
        if not row.destroying:
            raise InvalidState(f"{row.name} is orphaned: {row.host} does not list it any more")
    else:
        await vc.inventory.commit(change_vm(row.name, destroying=True))
        await unregister_elsewhere(vc, row)
        await session.command(HostDestroyVm(vm=row.name))
    await _leave(vc, row)
    return Done()


def _check_off(row: VmRow) -> None:
    if row.power is not PowerState.OFF:
        raise InvalidPowerState(f"{row.name} is {row.power.value}; power it off first")


async def unregister_elsewhere(vc: VCenter, row: VmRow) -> None:
    """Unregister the VM from connected hosts other than its own that may still list it."""
    listing = [session.host for session in vc.sessions.listing(row.name)]
    for host in dict.fromkeys((*listing, *row.moving)):
        other = vc.sessions.find_connected(host)
        if other is not None and host != row.host:
            await other.command(HostUnregisterVm(vm=row.name))
            vc.sessions.lists_no_more(host, row.name)


async def _leave(vc: VCenter, row: VmRow) -> None:
    vc.sessions.lists_no_more(row.host, row.name)
    vc.sharing.withdraw(row.keys)
    hosts = [host.name for host in vc.inventory.hosts_of(row.cluster)]
    await vc.inventory.commit(
        drop(DatabaseTable.VM, row.name),
        *release_keys(row.keys, hosts),
        *end_grants(row.name, row.keys),
        events=[events.vm_removed(row.name, row.host)],
    )
    if row.keys:
        for host in hosts:
            vc.gathered.want(host, removing=True)
