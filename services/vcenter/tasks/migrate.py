"""vMotion, which vCenter orchestrates (MOB-03): without it no VM moves, encrypted or not.

1. check that the VM may go there: same cluster, both hosts connected, the target accepts VMs and is
   safe
2. bring the target the VM's keys that it lacks (MOB-04)
3. create a key for this one stream, sealed to the two hosts only (MOB-01)
4. the target prepares, the source sends and hands over
5. the target reports the outcome

A refusal leaves the VM running on its source, and marks nothing: a missing key locks only VMs of
the host that lacks it.
"""

from __future__ import annotations

from protocol.crypto.stream import KEY_SIZE, NONCE_BASE_SIZE
from protocol.errors import (
    EncryptionKeyRequired,
    InvalidState,
    ProductError,
    TimedOut,
)
from protocol.messages.base import Sealed
from protocol.messages.host.vms import (
    HostEndMigration,
    HostMigrateVm,
    HostPrepareMigration,
    StreamKey,
    VmMigrated,
)
from protocol.messages.vcenter.vms import MigrateVm, ReconfigVm, VmRelocated
from protocol.secret import KeyMaterial
from protocol.terms import DrsBehavior, MigrateEncryption, NodeName, PowerState
from services.vcenter.authorization.privileges import SYSTEM, TaskCaller
from services.vcenter.client_info import stream_policy
from services.vcenter.events import drs_migrated
from services.vcenter.hosts.session import HostSession
from services.vcenter.inventory import change_vm
from services.vcenter.tables import VmRow
from services.vcenter.tasks.encrypt import make_host_safe
from services.vcenter.vcenter import VCenter


async def migrate_vm(vc: VCenter, message: MigrateVm, caller: TaskCaller) -> VmRelocated:
    """See the module. Runs in the VM's turn."""
    row = vc.vm(message.vm)
    vc.check_settled(row.name)
    await vc.moves.settle(row.name)
    row = vc.vm(message.vm)
    target = vc.placement.choose(row.cluster, message.host)
    if row.host == target:
        return VmRelocated(vm=vc.vm_info(row.name))
    source = vc.sessions.usable(row.host)
    session = vc.sessions.usable(target)
    if row.keys:
        await bring_keys(vc, session, row, caller=caller)
    if row.power is PowerState.OFF:
        await vc.moves.cold(row, session)
        return VmRelocated(vm=vc.vm_info(row.name))
    done = await _move(vc, source, session, row)
    return VmRelocated(
        vm=vc.vm_info(row.name),
        gap_s=None if done is None else done.gap_s,
        size=None if done is None else done.size,
        encrypted=stream_policy(row) is not MigrateEncryption.DISABLED,
    )


async def reconfigure(vc: VCenter, message: ReconfigVm) -> VmRelocated:
    """MOB-02: stored by vCenter with the VM, for later migrations."""
    row = vc.vm(message.vm)
    if row.keys and message.migrate_encryption is not MigrateEncryption.REQUIRED:
        raise InvalidState(f"{row.name} is encrypted: its memory always travels encrypted")
    await vc.inventory.commit(change_vm(row.name, migrate_encryption=message.migrate_encryption))
    return VmRelocated(vm=vc.vm_info(row.name))


async def bring_keys(
    vc: VCenter, session: HostSession, row: VmRow, *, caller: TaskCaller, vouched: bool = False
) -> None:
    """Step 2; ``EncryptionKeyRequired`` names keys that are not available. ``vouched``: another
    vCenter gives the keys to the host's cluster."""
    await make_host_safe(vc, session, row.keys[0].provider_id, caller=caller)
    denied = await vc.remediation.provide(session, row.keys, vouched=vouched)
    if denied:
        reasons = ", ".join(f"{key} ({reason.value})" for key, reason in denied.items())
        raise EncryptionKeyRequired(
            f"{row.name}: {session.host} lacks keys that cannot be had: {reasons}", tuple(denied)
        )


async def _move(
    vc: VCenter, source: HostSession, session: HostSession, row: VmRow
) -> VmMigrated | None:
    """Steps 3 to 5. None: it runs on the target, and the source's answer was lost."""
    await vc.moves.begin(row, session.host)
    try:
        done = await _hand_over_vm(vc, source, session, row)
        if done is not None:
            await vc.moves.end(row.name)
    except ProductError:
        vc.moves.follow()
        raise
    if done is None:
        vc.moves.follow()  # its source may still list it
    return done


async def _hand_over_vm(
    vc: VCenter, source: HostSession, session: HostSession, row: VmRow
) -> VmMigrated | None:
    migration = vc.next_migration()
    stream, key = new_stream(vc, row)

    await prepare_host(
        vc,
        session,
        HostPrepareMigration(
            vm=row.name,
            migration=migration,
            source=row.host,
            stream=stream,
            material=None if key is None else Sealed.of(key),
        ),
    )
    failure: ProductError | None = None
    done: VmMigrated | None = None
    try:
        done = await source.command(
            HostMigrateVm(
                vm=row.name,
                migration=migration,
                target=session.host,
                stream=stream,
                material=None if key is None else Sealed.of(key),
            )
        )
    except ProductError as error:
        failure = error
    if not await _has_arrived(vc, session, row, migration):
        if failure is None:
            raise TimedOut(f"{row.name} moved to {session.host}, and does not run there now")
        raise failure
    vc.sessions.lists_no_more(row.host, row.name)
    return done


def new_stream(vc: VCenter, row: VmRow) -> tuple[StreamKey | None, KeyMaterial | None]:
    """Step 3: a key for this one migration; None where the VM's policy lets its memory travel in
    clear (MOB-02)."""
    if stream_policy(row) is MigrateEncryption.DISABLED:
        return None, None
    stream = StreamKey(nonce_base=vc.rng.token(NONCE_BASE_SIZE))
    return stream, KeyMaterial(vc.rng.token(KEY_SIZE))


async def prepare_host(vc: VCenter, session: HostSession, command: HostPrepareMigration) -> None:
    """Step 4. The target may lack a KDK that vCenter assumes it has (NKP-15)."""
    requested_at = vc.sessions.moment()
    try:
        prepared = await session.command(command)
    except EncryptionKeyRequired as error:
        vc.passes.want(session.host)
        if all(vc.providers.derives(key.provider_id) is None for key in error.keys):
            raise
        await session.look()
        await vc.remediation.hand_out_providers(session)
        prepared = await session.command(command)
    vc.sessions.handle_vm_answer(session, prepared.summary, requested_at)


async def _has_arrived(vc: VCenter, session: HostSession, row: VmRow, migration: str) -> bool:
    """The target's own report; a target that does not answer is asked again later."""
    requested_at = vc.sessions.moment()
    try:
        ended = await session.command(HostEndMigration(vm=row.name, migration=migration))
    except ProductError as error:
        raise TimedOut(  # it may have arrived: this is not a refusal
            f"{session.host} does not say whether it runs {row.name}: {error}"
        ) from None
    if ended.summary is None:
        vc.sessions.lists_no_more(session.host, row.name)
        return False
    vc.sessions.handle_vm_answer(session, ended.summary, requested_at)
    running = ended.summary.power is PowerState.ON
    if running:
        await vc.sessions.take_in(session.host, (ended.summary,))
    return running


async def evacuate(vc: VCenter, host: NodeName) -> None:
    """Move every VM that runs on the host to the emptiest other host of its cluster that accepts
    VMs.

    The first VM that cannot move ends it; those that moved stay where they are.
    """
    for row in list(vc.inventory.vms_on(host)):
        async with vc.node.turn(f"vm:{row.name}"):
            now = vc.inventory.vms.get(row.name)
            if now is None or now.host != host or now.power is not PowerState.ON:
                continue
            target = vc.placement.choose(now.cluster, None, but=host, encrypted=bool(now.keys))
            await migrate_vm(vc, MigrateVm(vm=now.name, host=target), SYSTEM)
            if empties_hosts(vc, host):
                await vc.inventory.commit(events=[drs_migrated(now.name, host, target)])


def empties_hosts(vc: VCenter, host: NodeName) -> bool:
    """Whether DRS of the host's cluster moves its running VMs by itself (HA-03)."""
    cluster = vc.inventory.clusters.get(vc.host(host).cluster)
    return cluster is not None and cluster.drs is DrsBehavior.FULLY_AUTOMATED
