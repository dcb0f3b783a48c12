"""A VM that moves to another vCenter (MOB-07), at both of them.

The VM's vCenter records that it may leave and leads the move. The receiving one checks the user,
the name, the provider, the keys and the host before anything begins. ``relocate_outcome`` is the
end of the move.
"""

from __future__ import annotations

from typing import Final

import msgspec

from protocol import scopes
from protocol.errors import (
    AlreadyExists,
    EncryptionKeyRequired,
    InvalidArgument,
    InvalidPowerState,
    InvalidState,
    NotFound,
    ProductError,
)
from protocol.messages.base import Sealed
from protocol.messages.host.session import VmSummary
from protocol.messages.host.vms import (
    CheckRelocate,
    HostEndMigration,
    HostMigrateVm,
    HostPrepareMigration,
    HostRegisterVm,
    HostUnregisterVm,
    StreamKey,
    VmMigrated,
)
from protocol.messages.vcenter.vms import (
    EndRelocation,
    PrepareRelocation,
    RelocateVm,
    RelocationEnded,
    RelocationPrepared,
    VmInfo,
    VmRelocated,
)
from protocol.secret import KeyMaterial
from protocol.terms import KeyUnavailableReason, MigrateEncryption, NodeName, PowerState
from services.vcenter.authorization.privileges import TaskCaller
from services.vcenter.client_info import stream_policy
from services.vcenter.hosts.host_reports import arrival, mark_arrived, row_of
from services.vcenter.hosts.plan import by_provider
from services.vcenter.hosts.session import HostSession
from services.vcenter.inventory import new_vm, put
from services.vcenter.key_use import cancel_releases, grant_keys
from services.vcenter.tables import DatabaseTable, Relocation, RelocationRow, VmRow
from services.vcenter.tasks.migrate import bring_keys, new_stream, prepare_host
from services.vcenter.tasks.relocate_outcome import (
    ask_peer,
    cancel_arrival,
    carry_over,
    end_at_peer,
    not_relocated,
    settle,
    undone,
)
from services.vcenter.tasks.vm_lifecycle import unregister_elsewhere
from services.vcenter.vcenter import VCenter


async def relocate_vm(vc: VCenter, message: RelocateVm, user: str) -> VmRelocated:
    """See the module; ``user``: the user of the task. Runs in the VM's turn."""
    peer = message.service.vcenter
    if peer == vc.node.name:
        raise InvalidArgument(f"service: {peer} has the VM; without a service it moves within it")
    if peer not in vc.config.vcenters:
        raise NotFound(f"there is no vCenter {peer}")
    there = await _find_earlier_move(vc, message)
    if there is not None:
        return VmRelocated(vm=there)
    row = vc.vm(message.vm)
    source = vc.sessions.usable(row.host)
    if not vc.sessions.lists(row.host, row.name):
        raise InvalidState(f"{row.name} is orphaned: {row.host} does not list it any more")
    if unknown := vc.not_granted(row):
        named = ", ".join(map(str, unknown))
        raise InvalidState(
            f"{row.name}: cluster {row.cluster} was not given {named}; unlock it before it moves"
        )
    where = await source.ask(CheckRelocate(vm=row.name))
    stream, key = new_stream(vc, row) if row.power is PowerState.ON else (None, None)
    leaving = carry_over(
        vc.inventory.relocations.get(row.name),
        RelocationRow(
            name=row.name,
            migration=vc.next_migration(),
            peer=peer,
            host=row.host,
            state=Relocation.LEAVING,
            running=row.power is PowerState.ON,
        ),
    )
    prepare = PrepareRelocation(
        vm=row.name,
        migration=leaving.migration,
        user=message.service.user or user,
        host=message.host,
        source=row.host,
        datastore=where.datastore,
        running=leaving.running,
        keys=row.keys,
        migrate_encryption=row.migrate_encryption,
        stream=stream,
        material=None if key is None else Sealed.of(key),
    )
    await vc.inventory.commit(put(DatabaseTable.RELOCATION, row.name, leaving))
    await vc.providers.grant(row.keys, scopes.of_vcenter(peer))
    await _have_it_prepared(vc, leaving, prepare)
    failure, done = await _let_go(vc, source, leaving, message, stream, key)
    departed = True if failure is None else None
    ended = await settle(vc, leaving, departed=departed, failure=failure)
    if ended.vm is None:
        gone = "has it no more" if ended.arrived else "does not have it, and did not say why"
        raise failure or InvalidState(f"{row.name}: {peer} {gone}")
    return VmRelocated(
        vm=ended.vm,
        gap_s=None if done is None else done.gap_s,
        size=None if done is None else done.size,
        encrypted=_was_encrypted(row) if leaving.running else None,
    )


async def _find_earlier_move(vc: VCenter, message: RelocateVm) -> VmInfo | None:
    """The VM at the other vCenter, if it has moved there by an earlier task; that move is
    settled."""
    before = vc.inventory.relocations.get(message.vm)
    if before is None:
        return None
    if before.state is Relocation.STAYED:
        try:
            await cancel_arrival(vc, before)
        except ProductError as error:
            raise InvalidState(
                f"{before.name}: {before.peer} does not know yet that the VM stayed: {error}"
            ) from None
        before = vc.inventory.relocations.get(message.vm)
        if before is None:
            return None
    if before.state is Relocation.LEAVING:
        ended = await settle(vc, before)
    elif before.state is Relocation.LEFT and message.vm not in vc.inventory.vms:
        ended = await end_at_peer(vc, before)
    else:
        return None
    here = message.vm in vc.inventory.vms or before.peer != message.service.vcenter
    return None if here else ended.vm


def _was_encrypted(row: VmRow) -> bool:
    return stream_policy(row) is not MigrateEncryption.DISABLED


async def _have_it_prepared(
    vc: VCenter, leaving: RelocationRow, prepare: PrepareRelocation
) -> None:
    """Step 2. A refusal leaves nothing at either end but its event here."""
    try:
        await ask_peer(vc, leaving, prepare)
    except ProductError as error:
        if error.definite:
            await vc.inventory.commit(undone(leaving), events=[not_relocated(leaving, error)])
            raise
        # It may be prepared all the same; the VM has not left.
        await settle(vc, leaving, failure=error)
        raise


async def _let_go(
    vc: VCenter,
    source: HostSession,
    leaving: RelocationRow,
    message: RelocateVm,
    stream: StreamKey | None,
    key: KeyMaterial | None,
) -> tuple[ProductError | None, VmMigrated | None]:
    """Step 3. An error says nothing of the outcome: hosts are asked for that."""
    try:
        done = None
        if leaving.running:
            done = await source.command(
                HostMigrateVm(
                    vm=leaving.name,
                    migration=leaving.migration,
                    target=message.host,
                    stream=stream,
                    material=None if key is None else Sealed.of(key),
                )
            )
        else:
            await unregister_elsewhere(vc, vc.vm(leaving.name))
            await source.command(HostUnregisterVm(vm=leaving.name))
    except ProductError as error:
        return error, None
    vc.sessions.lists_no_more(source.host, leaving.name)
    return None, done


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
