"""A change of a cluster's encryption: enable, disable, rekey, another provider.

1. the keys are made; vCenter keeps ids (the same ones at each repeat of the operation)
2. *preparing* is durable; every host fetches the new keys by itself. A host that cannot ends the
   change: nothing was changed on a disk, and what was in force still is
3. *prepared* is durable, with the new host key of the cluster; every host brings its disks to the
   new keys, one host after the other
4. the new configuration is in force: *settled*

A vCenter that falls between two of these goes on with the next one when it is back (``keeper``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from protocol.errors import InvalidState, ProductError
from protocol.messages.host.vsan import ApplyVsanEncryption, PrepareVsanEncryption, VsanState
from protocol.terms import ClusterName, NodeName
from protocol.vsan import VsanChange, VsanEncryption, VsanTransitionState
from services.runtime.each import for_each
from services.vcenter.hosts.session import HostSession
from services.vcenter.inventory import Edit, change_cluster
from services.vcenter.tables import ClusterRow, DatabaseTable
from services.vcenter.vcenter import VCenter
from services.vcenter.vsan.conditions import cluster_row, members, present, states
from services.vcenter.vsan.handed import build_encryption
from services.vcenter.vsan.new_keys import cover
from services.vcenter.vsan.objects import survives_without
from services.vcenter.vsan.row_edits import vsan_edit
from services.vcenter.vsan.rows import VsanKeys, VsanRow, VsanTransition

APPLY_S = 1200.0  # lab seconds: every disk of a host is read and written
PREPARE_S = 600.0  # several key servers may be silent


def encryption_for_host(
    vc: VCenter, cluster: ClusterName, keys: VsanKeys, host: NodeName
) -> VsanEncryption:
    """The configuration for this host of the cluster."""
    return build_encryption(keys, vc.inventory.providers, members(vc, cluster), host)


async def begin(
    vc: VCenter, cluster: ClusterName, operation: str, transition: VsanTransition
) -> None:
    """Make the change durable as begun, and carry it to its end."""

    def change(row: ClusterRow | None) -> ClusterRow | None:
        if row is None:
            return None
        old = row.vsan or VsanRow()
        new = msgspec.structs.replace(old, transition=transition, operation=operation)
        return msgspec.structs.replace(row, vsan=new)

    await vc.inventory.commit(Edit(DatabaseTable.CLUSTER, cluster, change))
    _record(vc, cluster, transition)
    await carry_on(vc, cluster)


async def carry_on(vc: VCenter, cluster: ClusterName) -> None:
    """Continue a change in progress to its end; no change when there is none.

    Raises why it cannot continue: given up while it is *preparing*, otherwise tried again later.
    """
    async with vc.vsan_locks.setdefault(cluster, asyncio.Lock()):
        row = cluster_row(vc, cluster).vsan
        if row is None or row.transition is None:
            return
        if row.transition.state is VsanTransitionState.PREPARING:
            await _prepare(vc, cluster, row.transition)
        row = cluster_row(vc, cluster).vsan
        if row is not None and row.transition is not None:
            await _apply(vc, cluster, row.transition)


async def _prepare(vc: VCenter, cluster: ClusterName, transition: VsanTransition) -> None:
    target = transition.target
    try:
        sessions = await present(vc, cluster)
        for session in sessions:
            await vc.remediation.hand_out_providers(session)
        await for_each(
            sessions if target.encryption_enabled else (),
            lambda s: s.command(
                PrepareVsanEncryption(encryption=encryption_for_host(vc, cluster, target, s.host)),
                within_s=PREPARE_S,
            ),
            name="vsan",
        )
    except ProductError as error:
        await vc.inventory.commit(vsan_edit(cluster, transition=None, operation=""))
        vc.node.record(
            "vsan.change_given_up", level="warning", cluster=cluster, reason=type(error).__name__
        )
        raise
    prepared = msgspec.structs.replace(transition, state=VsanTransitionState.PREPARED)
    edits = [vsan_edit(cluster, transition=prepared)]
    if target.host_key is not None:
        edits.append(
            change_cluster(cluster, host_key=target.host_key, host_key_check=target.host_key_check)
        )
    await vc.inventory.commit(*edits)
    _record(vc, cluster, prepared)


async def _apply(vc: VCenter, cluster: ClusterName, transition: VsanTransition) -> None:
    """Host after host; a deep rekey first checks that the others can do without each host."""
    for session in await _there(vc, cluster):
        if transition.change is VsanChange.DEEP_REKEY:
            await _check_redundancy(vc, cluster, session, transition.target)
        await session.command(
            ApplyVsanEncryption(
                encryption=encryption_for_host(vc, cluster, transition.target, session.host),
                allow_reduced_redundancy=transition.allow_reduced_redundancy,
            ),
            within_s=APPLY_S,
        )
    edits: dict[str, object] = {"keys": transition.target, "transition": None}
    if transition.change is VsanChange.DEEP_REKEY:
        edits["allow_reduced_redundancy"] = transition.allow_reduced_redundancy
    await vc.inventory.commit(vsan_edit(cluster, **edits))
    vc.node.record("vsan.change", cluster=cluster, change=transition.change.value, state="settled")


async def repair(vc: VCenter, cluster: ClusterName, host: NodeName, seen: VsanState) -> bool:
    """Bring a host with another configuration to the one in force; returns whether that was needed.

    It was away when its cluster changed (C25), has a later disk group (C3), or keeps the profile of
    a change that was given up. Not while a change is in progress: an earlier command must not undo
    it. A host that was left out of a deep rekey makes up for it with the same allowance.
    """
    async with vc.vsan_locks.setdefault(cluster, asyncio.Lock()):
        session = vc.sessions.find_connected(host)
        if _find_settled_row(vc, cluster) is None or session is None or not seen.groups:
            return False
        await cover(vc, cluster, host, [group.group for group in seen.groups])
        row = _find_settled_row(vc, cluster)
        if row is None:
            return False
        if (
            seen.encryption == encryption_for_host(vc, cluster, row.keys, host)
            and not seen.preparing
        ):
            return False
        if row.keys.encryption_enabled and _is_deep(seen, row.keys):
            await _check_redundancy(vc, cluster, session, row.keys)
        await session.command(
            ApplyVsanEncryption(
                encryption=encryption_for_host(vc, cluster, row.keys, host),
                allow_reduced_redundancy=row.allow_reduced_redundancy,
            ),
            within_s=APPLY_S,
        )
        return True


def _find_settled_row(vc: VCenter, cluster: ClusterName) -> VsanRow | None:
    """Its row; None while a change is in progress, or without vSAN."""
    row = cluster_row(vc, cluster).vsan
    return None if row is None or row.transition is not None else row


def _is_deep(seen: VsanState, target: VsanKeys) -> bool:
    disks = [disk for group in seen.groups for disk in group.disks if disk.encrypted]
    return any(disk.dek_generation_id < target.dek_generation for disk in disks)


async def cover_group(vc: VCenter, cluster: ClusterName, session: HostSession, group: str) -> None:
    """A later disk group gets a KEK of its own, and its host the configuration (C3)."""
    async with vc.vsan_locks.setdefault(cluster, asyncio.Lock()):
        row = _find_settled_row(vc, cluster)
        if row is None or row.keys.covers(session.host, group):
            return
        await cover(vc, cluster, session.host, [group])
        keys = cluster_row(vc, cluster).vsan or row
        await session.command(
            ApplyVsanEncryption(
                encryption=encryption_for_host(vc, cluster, keys.keys, session.host)
            ),
            within_s=APPLY_S,
        )


async def _there(vc: VCenter, cluster: ClusterName) -> Sequence[HostSession]:
    """``HostUnreachable`` names an absent host, unless the knob ignores it (C25)."""
    rows = vc.inventory.hosts_of(cluster)
    if vc.node.knobs.vsan_rekey_with_absent_host == "refuse":
        return [vc.sessions.usable(row.name) for row in rows]
    found = [vc.sessions.find_connected(row.name) for row in rows]
    return [session for session in found if session is not None]


async def _check_redundancy(
    vc: VCenter, cluster: ClusterName, session: HostSession, target: VsanKeys
) -> None:
    """``InvalidState`` when an object would be inaccessible while this host's disks are formatted;
    a host without disks to format makes nothing inaccessible."""
    row = cluster_row(vc, cluster).vsan or VsanRow()
    groups = {name: state.groups for name, state in (await states(vc, cluster)).items()}
    disks = [disk for group in groups.get(session.host, ()) for disk in group.disks]
    if all(disk.dek_generation_id == target.dek_generation for disk in disks):
        return
    lost = survives_without(row.objects, groups, session.host)
    if lost is not None:
        raise InvalidState(f"{lost} would be inaccessible without {session.host}")


def _record(vc: VCenter, cluster: ClusterName, transition: VsanTransition) -> None:
    vc.node.record(
        "vsan.change",
        cluster=cluster,
        change=transition.change.value,
        state=transition.state.value,
    )
