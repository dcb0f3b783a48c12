"""VMs that enter and leave the inventory: created, registered, unregistered, destroyed.

An encrypted VM gets its key before it is created, so a failing task leaves no VM in clear.
Registering a VM grants its keys to the cluster, unless they belong to others (C28).
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
from protocol.messages.host.session import Done
from protocol.messages.host.vms import HostCreateVm, HostDestroyVm, HostRegisterVm, HostUnregisterVm
from protocol.messages.vcenter.vms import (
    CreateVm,
    DestroyVm,
    RegisterVm,
    UnregisterVm,
    VmCreated,
    VmRegistered,
)
from protocol.terms import NodeName, PowerState, VmName
from services.vcenter import events
from services.vcenter.authorization.privileges import TaskCaller
from services.vcenter.hosts.host_reports import row_of
from services.vcenter.hosts.session import HostSession
from services.vcenter.inventory import Edit, change_vm, drop, new_vm, put
from services.vcenter.key_use import (
    cancel_releases,
    end_grants,
    grant_keys,
    keys_from_vcenter,
    release_keys,
)
from services.vcenter.tables import DatabaseTable, OperationKind, OperationRow, VmRow
from services.vcenter.tasks.encrypt import (
    find_operation,
    give_key_of_new_vm,
    give_up,
    modes_afterwards,
)
from services.vcenter.tasks.relocate_outcome import check_not_at_peer
from services.vcenter.vcenter import VCenter


async def create_vm(vc: VCenter, message: CreateVm, caller: TaskCaller) -> VmCreated:
    """See the module. Runs in the VM's turn."""
    names.VM.check(message.vm)
    before = await find_operation(vc, message.operation_id, OperationKind.CREATE_VM, message.vm)
    if message.vm in vc.inventory.vms:
        if before is None:
            raise AlreadyExists(f"there is a virtual machine {message.vm} already")
        return VmCreated(vm=vc.vm_info(message.vm))
    vc.check_not_expected(message.vm)
    if before is not None and before.host is not None and before.host in vc.inventory.hosts:
        return await _make(vc, message, before, before.host, caller)
    host = vc.placement.choose(message.cluster, message.host, encrypted=message.encrypted)
    operation = before or OperationRow(
        name=message.operation_id,
        kind=OperationKind.CREATE_VM,
        subject=message.vm,
        provider=(
            vc.provider_for(message.provider, message.cluster) if message.encrypted else None
        ),
    )
    operation = msgspec.structs.replace(operation, host=host)
    with vc.placement.making_on(host):
        await vc.inventory.commit(put(DatabaseTable.OPERATION, operation.name, operation))
        return await _make(vc, message, operation, host, caller)


async def _make(
    vc: VCenter, message: CreateVm, operation: OperationRow, host: NodeName, caller: TaskCaller
) -> VmCreated:
    session, cluster = vc.sessions.usable(host), vc.host(host).cluster
    given = await give_key_of_new_vm(vc, session, operation, caller=caller)
    command = HostCreateVm(
        vm=message.vm,
        blocks=message.blocks,
        key=given.key,
        provider=given.maker,
        firmware=message.firmware,
        hardware=message.hardware,
    )
    try:
        vm = await session.command_vm(command)
    except ProductError as error:
        if error.definite and given.key is not None:
            await give_up(vc, cluster, (given.key,), vm=message.vm)
        raise
    encrypted = operation.provider is not None
    keys = given.keys_of(vm) if encrypted else ()
    if keys and host not in vc.inventory.hosts:  # the host was removed, and the VM with it
        await give_up(vc, cluster, keys, vm=None)
    made = VmRow(
        name=message.vm, cluster=vc.host(host).cluster, host=host, power=vm.power, keys=keys
    )
    await vc.inventory.commit(
        new_vm(made),
        *(modes_afterwards(vc, session, caller=caller) if encrypted else ()),
        *cancel_releases(keys),
        events=[events.vm_encrypted(message.vm, host, keys[0])] if encrypted else [],
    )
    if encrypted:
        given.look_after_the_others(vc, session)
    return VmCreated(vm=vc.vm_info(message.vm))


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
