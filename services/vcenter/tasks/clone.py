"""Cloning a VM (CLN-01): a whole copy. The clone's own host makes it or, for a running source, the
source's host, which holds its lock.

1. check that the host accepts VMs
2. make the host safe and bring it the source's keys (SC-13), and also the host that makes the clone
3. if a new key is requested, create and deliver it as in ``encrypt``
4. the host makes the clone; a failure leaves nothing
5. record the clone; VMCA certifies a new virtual TPM (VTPM-07)
6. if it was made on another host, register it on its own host and unregister it there

A repeat of the operation uses the host and the key that were chosen the first time, and continues
with step 6 if that did not finish.
"""

from __future__ import annotations

import msgspec

from protocol import names
from protocol.authorization import Privilege
from protocol.errors import (
    AlreadyExists,
    InvalidArgument,
    InvalidState,
    ProductError,
)
from protocol.events import EventTypeId
from protocol.messages.host.session import VmSummary
from protocol.messages.host.vms import HostCloneVm, QueryVmConfig, TpmProvisionPolicy
from protocol.messages.vcenter.vms import CloneVm, VmCloned
from protocol.releases import Feature, has
from protocol.terms import CryptoKeyId, NodeName, PowerState, VmName
from services.vcenter.authorization.privileges import TaskCaller
from services.vcenter.events import EventDraft
from services.vcenter.hosts.host_reports import row_of
from services.vcenter.inventory import new_vm, put
from services.vcenter.key_use import cancel_releases, grant_keys
from services.vcenter.tables import DatabaseTable, OperationKind, OperationRow, VmRow
from services.vcenter.tasks.encrypt import (
    find_operation,
    give_key_of_new_vm,
    give_up,
    modes_afterwards,
)
from services.vcenter.tasks.migrate import bring_keys
from services.vcenter.tasks.power import check_valid
from services.vcenter.tasks.reconfigure import certify
from services.vcenter.vcenter import VCenter


async def clone_vm(vc: VCenter, message: CloneVm, caller: TaskCaller) -> VmCloned:
    """See the module. Runs in the clone's turn."""
    _policy(vc, message)
    names.VM.check(message.vm)
    before = await find_operation(vc, message.operation_id, OperationKind.CLONE_VM, message.vm)
    if message.vm in vc.inventory.vms:
        if before is None or before.host is None:
            raise AlreadyExists(f"there is a virtual machine {message.vm} already")
        await _certify(vc, vc.vm(message.vm))
        if not before.ended:
            await _send_on(vc, message.vm, before, caller)
        return VmCloned(vm=vc.vm_info(message.vm))
    vc.check_not_expected(message.vm)
    source = _source(vc, message)
    await check_valid(vc, source.name)  # not checked yet for a repeat
    if message.recrypt:
        caller.check((Privilege.RECRYPT,), "a clone with new keys")
    if before is not None and before.host in vc.inventory.hosts:
        return await _make(vc, message, source, before, caller)
    operation = before or OperationRow(
        name=message.operation_id,
        kind=OperationKind.CLONE_VM,
        subject=message.vm,
        provider=vc.provider_for(message.provider, source.cluster) if message.recrypt else None,
    )
    wanted = message.host or (source.host if source.power is PowerState.ON else None)
    host = vc.placement.choose(source.cluster, wanted, encrypted=bool(source.keys))
    operation = msgspec.structs.replace(operation, host=host)
    with vc.placement.making_on(host):
        await vc.inventory.commit(put(DatabaseTable.OPERATION, operation.name, operation))
        return await _make(vc, message, source, operation, caller)


def _policy(vc: VCenter, message: CloneVm) -> TpmProvisionPolicy:
    """The clone's virtual TPM policy; before 8.0 only a copy is possible, otherwise
    ``NotAvailable``."""
    if message.tpm is None and not has(vc.release, Feature.VTPM_REPLACE):
        return TpmProvisionPolicy.COPY
    wanted = message.tpm or TpmProvisionPolicy(vc.node.knobs.clone_tpm_provision_policy)
    if wanted is TpmProvisionPolicy.REPLACE:
        vc.check_can(Feature.VTPM_REPLACE)
    return wanted


def _source(vc: VCenter, message: CloneVm) -> VmRow:
    """Step 1: check that the source may be cloned, before a key is created."""
    row = vc.vm(message.source)
    if message.provider is not None and not message.recrypt:
        raise InvalidArgument("provider: a clone has the keys of its source, unless recrypted")
    if message.recrypt and not row.keys:
        raise InvalidState(f"{row.name} is not encrypted: there is nothing to recrypt")
    return row


async def _make(
    vc: VCenter, message: CloneVm, source: VmRow, operation: OperationRow, caller: TaskCaller
) -> VmCloned:
    runs, cluster = source.power is PowerState.ON, source.cluster
    target = vc.sessions.usable(operation.host or NodeName(""))
    session = vc.sessions.usable(source.host) if runs else target
    host = session.host
    if source.keys:
        await bring_keys(vc, target, source, caller=caller)
        if host != target.host:
            await bring_keys(vc, session, source, caller=caller)
    given = await give_key_of_new_vm(vc, session, operation, caller=caller)
    command = HostCloneVm(
        vm=message.vm,
        source=source.name,
        template=message.template,
        recrypt=message.recrypt,
        key=given.key,
        provider=given.maker,
        tpm=_policy(vc, message),
    )
    try:
        vm = await session.command_vm(command)
    except ProductError as error:
        if error.definite and given.key is not None:
            await give_up(vc, cluster, (given.key,), vm=message.vm)
        raise
    if vm.keys and host not in vc.inventory.hosts:  # the host was removed, and the clone with it
        new = tuple(key for key in vm.keys if key not in source.keys)
        await give_up(vc, cluster, new, vm=None)
    made = row_of(vm, host, cluster)
    now = await vc.inventory.operation(operation.name) or operation
    now = msgspec.structs.replace(now, ended=host == target.host)
    await vc.inventory.commit(
        new_vm(made),
        put(DatabaseTable.OPERATION, now.name, now),
        *(modes_afterwards(vc, session, caller=caller) if vm.keys else ()),
        *cancel_releases(vm.keys),
        *grant_keys(made.name, cluster, _keys_in_common(vc, source, vm)),
        events=[_clone_event(source, made)],
    )
    if vm.keys:
        given.look_after_the_others(vc, session)
    await _certify(vc, made)
    if not now.ended:
        await _send_on(vc, made.name, now, caller)
    return VmCloned(vm=vc.vm_info(vm.vm))


def _keys_in_common(vc: VCenter, source: VmRow, clone: VmSummary) -> list[CryptoKeyId]:
    """The keys of the source that the clone has too, as far as their cluster was given them."""
    return [
        key
        for key in source.keys
        if key in clone.keys and vc.inventory.is_granted(source.cluster, key)
    ]


async def _send_on(vc: VCenter, name: VmName, operation: OperationRow, caller: TaskCaller) -> None:
    """Step 6. A failure leaves the complete clone where it was made."""
    row, host = vc.vm(name), operation.host or NodeName("")
    if row.power is PowerState.OFF:
        try:
            await vc.moves.settle(name)  # an earlier try has registered it twice
            row = vc.vm(name)
            if row.host != host:
                target = vc.sessions.usable(host)
                if row.keys:
                    await bring_keys(vc, target, row, caller=caller)
                await vc.moves.cold(row, target)
        except ProductError as error:
            text = f"{name} is cloned, on {row.host}, and did not get to {host}: {error}"
            raise type(error)(text, error.keys) from None
    done = msgspec.structs.replace(operation, ended=True)
    await vc.inventory.commit(put(DatabaseTable.OPERATION, done.name, done))


async def _certify(vc: VCenter, row: VmRow) -> None:
    """A copied virtual TPM keeps its certificate; a new one gets its own."""
    if row.vtpm:
        session = vc.sessions.usable(row.host)
        await certify(vc, session, row, await session.ask(QueryVmConfig(vm=row.name)))


def _clone_event(source: VmRow, made: VmRow) -> EventDraft:
    return EventDraft(
        event=EventTypeId.VM_CLONED,
        text=f"Virtual machine {source.name} was cloned to {made.name} on {made.host}",
        host=made.host,
        vm=made.name,
        provider=made.keys[0].provider_id if made.keys else None,
        keys=made.keys,
    )
