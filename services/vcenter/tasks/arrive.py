"""A VM that arrives from another vCenter (MOB-07), at the receiving vCenter; ``relocate`` is the
other end.

Checked before anything of the move begins: the user's privileges here, the name, the key provider
by its name, its keys, the host's mode, and that the host opens the VM with these keys (KEY-01).
Then the VM is *expected*: reports of hosts about it are ignored as long as it does not run here.
"""

from __future__ import annotations

from typing import Final

import msgspec

from protocol.errors import (
    AlreadyExists,
    EncryptionKeyRequired,
    InvalidPowerState,
    ProductError,
)
from protocol.messages.host import (
    CheckRelocate,
    HostEndMigration,
    HostPrepareMigration,
    HostRegisterVm,
    HostUnregisterVm,
    VmSummary,
)
from protocol.messages.vcenter import (
    EndRelocation,
    PrepareRelocation,
    RelocationEnded,
    RelocationPrepared,
)
from protocol.terms import KeyUnavailableReason, NodeName, PowerState
from services.vcenter.authorization.roles import TaskCaller
from services.vcenter.hosts.plan import by_provider
from services.vcenter.hosts.relocated_vms import arrival, mark_arrived
from services.vcenter.hosts.reported_vms import row_of
from services.vcenter.hosts.session import HostSession
from services.vcenter.inventory import new_vm, put
from services.vcenter.keys.grants import grant_keys
from services.vcenter.removals import cancel_releases
from services.vcenter.tables import DatabaseTable, Relocation, RelocationRow, VmRow
from services.vcenter.tasks.departure import carry_over, undone
from services.vcenter.tasks.migrate import bring_keys, prepare_host
from services.vcenter.vcenter import VCenter

_NO_SUCH_KEY: Final = KeyUnavailableReason.MISSING_IN_KMS


async def prepare(
    vc: VCenter, message: PrepareRelocation, caller: TaskCaller, peer: NodeName
) -> RelocationPrepared:
    """See the module. A refusal leaves nothing here. Runs in the VM's turn."""
    before = vc.inventory.relocations.get(message.vm)
    if before is not None and before.migration == message.migration:
        return RelocationPrepared()
    if message.vm in vc.inventory.vms:
        raise AlreadyExists(f"there is a virtual machine {message.vm} at {vc.node.name}")
    cluster = vc.host(message.host).cluster
    session = vc.sessions.usable(vc.placement.choose(cluster, message.host))
    if before is not None and before.state is Relocation.EXPECTED:
        await _expect_no_more(vc, before)
    await _check_providers(vc, message)
    row = VmRow(name=message.vm, cluster=cluster, host=session.host, keys=message.keys)
    if row.keys:
        await vc.sessions.check_believed(session.host, row.name, row.keys)
        await bring_keys(vc, session, row, caller=caller, vouched=True)
    await session.ask(CheckRelocate(vm=message.vm, datastore=message.datastore, keys=message.keys))
    expected = carry_over(
        before,
        RelocationRow(
            name=message.vm,
            migration=message.migration,
            peer=peer,
            host=session.host,
            state=Relocation.EXPECTED,
            running=message.running,
            migrate_encryption=message.migrate_encryption,
            keys=message.keys,
        ),
    )
    await vc.inventory.commit(put(DatabaseTable.RELOCATION, message.vm, expected))
    if message.running:
        await _have_host_prepared(vc, session, expected, message)
    return RelocationPrepared()


async def _expect_no_more(vc: VCenter, before: RelocationRow) -> None:
    """Another move replaces this one, which has no known end: its host has been waiting for the VM.
    ``HostUnreachable``: the host does not answer; ``AlreadyExists``: the VM runs there."""
    if before.host not in vc.inventory.hosts:
        return
    session = vc.sessions.usable(before.host)
    summary = await _as_the_host_has_it(vc, session, before)
    if not await _is_off(vc, session, before, summary):
        raise AlreadyExists(f"{before.name} has come to {vc.node.name} from {before.peer}")


async def _have_host_prepared(
    vc: VCenter, session: HostSession, expected: RelocationRow, message: PrepareRelocation
) -> None:
    command = HostPrepareMigration(
        vm=message.vm,
        migration=message.migration,
        source=message.source,
        stream=message.stream,
        material=message.material,
    )
    try:
        await prepare_host(vc, session, command)
    except ProductError as error:
        if error.definite:
            await vc.inventory.commit(undone(expected))
        raise


async def _check_providers(vc: VCenter, message: PrepareRelocation) -> None:
    """KEY-01: the name must lead to the same keys here. A host that happens to have the key is not
    enough. If the provider cannot be asked now, it is decided by whether the host opens the VM
    (MOB-04)."""
    unknown = [key for key in message.keys if key.provider_id not in vc.inventory.providers]
    if unknown:
        names = ", ".join(dict.fromkeys(str(key.provider_id) for key in unknown))
        raise EncryptionKeyRequired(
            f"{message.vm}: {vc.node.name} has no key provider {names} "
            f"({KeyUnavailableReason.CLUSTER_INVALID.value})",
            tuple(unknown),
        )
    for provider, keys in by_provider(message.keys).items():
        if vc.providers.capability(provider).fixed_status is not None:
            continue
        status = await vc.providers.require_provider(provider).status([key.key_id for key in keys])
        gone = [key for key in keys if status[key.key_id] is _NO_SUCH_KEY]
        if gone:
            missing = ", ".join(map(str, gone))
            raise EncryptionKeyRequired(
                f"{message.vm}: key provider {provider} of {vc.node.name} does not have {missing} "
                f"({_NO_SUCH_KEY.value})",
                tuple(gone),
            )


async def end(vc: VCenter, message: EndRelocation, peer: NodeName) -> RelocationEnded:
    """Whether the VM has arrived; see ``EndRelocation``. Runs in the VM's turn.

    ``HostUnreachable`` and the like: its host here does not answer; nothing is decided.
    """
    row = vc.inventory.relocations.get(message.vm)
    if row is not None and row.has_come(peer, message.migration):
        return _arrival_reply(vc, row)
    if row is None or (row.migration, row.peer) != (message.migration, peer):
        return RelocationEnded(arrived=False)
    if row.name in vc.inventory.vms:  # a user has registered it here meanwhile
        come = message.departed is not False
        await vc.inventory.commit(
            put(DatabaseTable.RELOCATION, row.name, mark_arrived(row)) if come else undone(row)
        )
        return _arrival_reply(vc, row) if come else RelocationEnded(arrived=False)
    session = vc.sessions.usable(row.host)
    summary = await _as_the_host_has_it(vc, session, row)
    if summary is None or summary.power is not PowerState.ON:
        if message.departed is None:
            return RelocationEnded(arrived=None)
        if message.departed:
            summary = await _let_in(session, row)
        elif await _is_off(vc, session, row, summary):
            await vc.inventory.commit(undone(row))
            return RelocationEnded(arrived=False)
        else:
            summary = await session.command_vm(HostRegisterVm(vm=row.name))
    await _take_in(vc, session, row, summary)
    return _arrival_reply(vc, row)


async def _let_in(session: HostSession, row: RelocationRow) -> VmSummary:
    """Register it, with its last accepted power command: a VM that ran when its host failed starts
    at the next boot, here. ``DatastoreFault``: another host runs it."""
    return await session.command_vm(HostRegisterVm(vm=row.name))


def _arrival_reply(vc: VCenter, row: RelocationRow) -> RelocationEnded:
    """The VM has arrived; every host of its cluster gets its keys soon (STD-12)."""
    here = vc.inventory.vms.get(row.name)
    if here is not None and here.keys:
        for host in vc.inventory.hosts_of(here.cluster):
            vc.gathered.want(host.name)
    return RelocationEnded(arrived=True, vm=vc.vm_info(row.name) if here else None)


async def _as_the_host_has_it(
    vc: VCenter, session: HostSession, row: RelocationRow
) -> VmSummary | None:
    """An expected VM that has not arrived does not arrive any more."""
    if not row.running:
        return None
    requested_at = vc.sessions.moment()
    ended = await session.command(HostEndMigration(vm=row.name, migration=row.migration))
    if ended.summary is None:
        vc.sessions.lists_no_more(session.host, row.name)
        return None
    vc.sessions.handle_vm_answer(session, ended.summary, requested_at)
    return ended.summary


async def _is_off(
    vc: VCenter, session: HostSession, row: RelocationRow, summary: VmSummary | None
) -> bool:
    """Remove the registration of an expected VM, or of a try to take it in; False: it runs there by
    now."""
    if summary is None and row.running:
        return True
    try:
        await session.command(HostUnregisterVm(vm=row.name))
    except InvalidPowerState:
        return False
    vc.sessions.lists_no_more(session.host, row.name)
    return True


async def _take_in(
    vc: VCenter, session: HostSession, row: RelocationRow, summary: VmSummary
) -> None:
    """Add the VM to the inventory, in one transaction with the end of its move."""
    came = row_of(summary, session.host, vc.host(session.host).cluster)
    made = msgspec.structs.replace(came, migrate_encryption=row.migrate_encryption)
    now = vc.inventory.relocations.get(row.name)
    if now is not None and now.state is Relocation.ARRIVED:
        return  # its host has reported it meanwhile
    await vc.inventory.commit(
        new_vm(made),
        put(DatabaseTable.RELOCATION, row.name, mark_arrived(row)),
        *cancel_releases(made.keys),
        *grant_keys(made.name, made.cluster, row.keys),
        events=[arrival(made.name, made.host, row.peer, made.keys)],
    )
