"""A VM that leaves for another vCenter (MOB-07), at the vCenter that has the VM; ``arrive`` is the
other end, ``departure`` the end of the move here.

1. record durably that the VM may leave; tell the key servers to let the other vCenter have its keys
2. the other vCenter checks the VM, brings keys to its host, and records that the VM may arrive
3. a running VM moves from host to host as in ``migrate``; a powered-off one is unregistered
4. the other vCenter takes it in
5. it leaves the inventory here, and its keys the hosts of its cluster (STD-17)

The VM belongs to the vCenter where it is registered: it stays as long as a host of this side lists
it and it does not run on the other side; it has left when none lists it. If that is unknown,
because a node is away, it is asked again (``follow``): meanwhile the VM may appear as orphaned
here, and no other vCenter has it.
"""

from __future__ import annotations

from protocol import scopes
from protocol.errors import (
    InvalidArgument,
    InvalidState,
    NotFound,
    ProductError,
)
from protocol.messages.base import Sealed
from protocol.messages.host import (
    CheckRelocate,
    HostMigrateVm,
    HostUnregisterVm,
    StreamKey,
    VmMigrated,
)
from protocol.messages.vcenter import (
    PrepareRelocation,
    RelocateVm,
    VmInfo,
    VmRelocated,
)
from protocol.secret import KeyMaterial
from protocol.terms import MigrateEncryption, PowerState
from services.vcenter.client_info import stream_policy
from services.vcenter.hosts.session import HostSession
from services.vcenter.inventory import put
from services.vcenter.tables import DatabaseTable, Relocation, RelocationRow, VmRow
from services.vcenter.tasks.departure import (
    ask_peer,
    cancel_arrival,
    carry_over,
    end_at_peer,
    not_relocated,
    settle,
    undone,
)
from services.vcenter.tasks.migrate import new_stream
from services.vcenter.tasks.registration import unregister_elsewhere
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
