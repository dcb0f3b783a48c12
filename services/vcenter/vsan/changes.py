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
from protocol.messages.host.vsan import ApplyVsanEncryption, PrepareVsanEncryption
from protocol.terms import ClusterName, CryptoKeyId, ManagementType
from protocol.vsan import VsanChange, VsanTransitionState
from services.runtime.each import for_each
from services.vcenter.hosts.session import HostSession
from services.vcenter.inventory import Edit, change_cluster
from services.vcenter.providers.native import check_backed_up
from services.vcenter.tables import ClusterRow, ProviderRow, Table
from services.vcenter.vcenter import VCenter
from services.vcenter.vsan.conditions import cluster_row, members, present, states
from services.vcenter.vsan.handed import handed
from services.vcenter.vsan.objects import survives_without
from services.vcenter.vsan.rows import VsanKeys, VsanRow, VsanTransition

APPLY_S = 1200.0  # lab seconds: every disk of a host is read and written
PREPARE_S = 600.0  # several key servers may be silent


async def new_keys(
    vc: VCenter, provider: ProviderRow, operation: str, before: VsanKeys, *, deep: bool, erase: bool
) -> VsanKeys:
    """A configuration with a new KEK and host key of that provider; vCenter sees no value.

    ``KeyProviderUnreachable`` and the like when it makes none, ``InvalidState`` for a native one
    that is not backed up.
    """
    made = VsanKeys(
        encryption_enabled=True,
        provider=provider.name,
        management_type=provider.management_type,
        dek_generation=before.dek_generation + deep,
        erase_disks_before_use=erase,
    )
    if provider.management_type is ManagementType.NATIVE_PROVIDER:
        check_backed_up(provider)
        native = vc.providers.native
        kek, host_key = native.new_key(provider), native.new_key(provider)
        return msgspec.structs.replace(
            made,
            kek=kek,
            kek_check=native.check(provider, kek),
            host_key=host_key,
            host_key_check=native.check(provider, host_key),
        )
    asked = vc.providers.asked(provider.name)
    kek_id = await asked.make_key(f"{vc.node.name}/vsan/{operation}/kek")
    host_key_id = await asked.make_key(f"{vc.node.name}/vsan/{operation}/hostkey")
    return msgspec.structs.replace(
        made,
        kek=CryptoKeyId(kek_id, provider.name),
        host_key=CryptoKeyId(host_key_id, provider.name),
    )


async def begin(
    vc: VCenter, cluster: ClusterName, operation: str, transition: VsanTransition
) -> None:
    """Make it durable that this change is on its way, and go on with it to its end."""

    def change(row: ClusterRow | None) -> ClusterRow | None:
        if row is None:
            return None
        old = row.vsan or VsanRow()
        new = msgspec.structs.replace(old, transition=transition, operation=operation)
        return msgspec.structs.replace(row, vsan=new)

    await vc.inventory.commit(Edit(Table.CLUSTER, cluster, change))
    _record(vc, cluster, transition)
    await carry_on(vc, cluster)


async def carry_on(vc: VCenter, cluster: ClusterName) -> None:
    """Take a change that is on its way to its end; no change when there is none.

    Raises why it cannot go on: given up while it is *preparing*, else tried again later.
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
    wished = handed(target, vc.inventory.providers, members(vc, cluster))
    try:
        sessions = await present(vc, cluster)
        for session in sessions:
            await vc.remediation.hand_out_providers(session)
        await for_each(
            sessions if target.encryption_enabled else (),
            lambda s: s.command(PrepareVsanEncryption(encryption=wished), within_s=PREPARE_S),
            name="vsan",
        )
    except ProductError as error:
        await vc.inventory.commit(_with(cluster, transition=None, operation=""))
        vc.node.record(
            "vsan.change_given_up", level="warning", cluster=cluster, reason=type(error).__name__
        )
        raise
    prepared = msgspec.structs.replace(transition, state=VsanTransitionState.PREPARED)
    edits = [_with(cluster, transition=prepared)]
    if target.host_key is not None:
        edits.append(
            change_cluster(cluster, host_key=target.host_key, host_key_check=target.host_key_check)
        )
    await vc.inventory.commit(*edits)
    _record(vc, cluster, prepared)


async def _apply(vc: VCenter, cluster: ClusterName, transition: VsanTransition) -> None:
    """Host after host; a deep rekey looks before each whether the others can do without it."""
    wished = handed(transition.target, vc.inventory.providers, members(vc, cluster))
    for session in await _there(vc, cluster):
        if transition.change is VsanChange.DEEP_REKEY:
            await _check_redundancy(vc, cluster, session, transition.target)
        await session.command(
            ApplyVsanEncryption(
                encryption=wished,
                allow_reduced_redundancy=transition.allow_reduced_redundancy,
            ),
            within_s=APPLY_S,
        )
    await vc.inventory.commit(_with(cluster, keys=transition.target, transition=None))
    vc.node.record("vsan.change", cluster=cluster, change=transition.change.value, state="settled")


async def _there(vc: VCenter, cluster: ClusterName) -> Sequence[HostSession]:
    """``HostUnreachable`` names one that is not, unless the knob leaves it (C25)."""
    rows = vc.inventory.hosts_of(cluster)
    if vc.node.knobs.vsan_rekey_with_absent_host == "refuse":
        return [vc.sessions.usable(row.name) for row in rows]
    found = [vc.sessions.connected_to(row.name) for row in rows]
    return [session for session in found if session is not None]


async def _check_redundancy(
    vc: VCenter, cluster: ClusterName, session: HostSession, target: VsanKeys
) -> None:
    """``InvalidState`` when an object would be inaccessible while this host's disks are formatted;
    a host that has none of them left to do takes nothing away."""
    row = cluster_row(vc, cluster).vsan or VsanRow()
    groups = {name: state.groups for name, state in (await states(vc, cluster)).items()}
    disks = [disk for group in groups.get(session.host, ()) for disk in group.disks]
    if all(disk.dek_generation_id == target.dek_generation for disk in disks):
        return
    lost = survives_without(row.objects, groups, session.host)
    if lost is not None:
        raise InvalidState(f"{lost} would be inaccessible without {session.host}")


def _with(cluster: ClusterName, **fields: object) -> Edit:
    def change(row: ClusterRow | None) -> ClusterRow | None:
        if row is None or row.vsan is None:
            return row
        return msgspec.structs.replace(row, vsan=msgspec.structs.replace(row.vsan, **fields))

    return Edit(Table.CLUSTER, cluster, change)


def _record(vc: VCenter, cluster: ClusterName, transition: VsanTransition) -> None:
    vc.node.record(
        "vsan.change",
        cluster=cluster,
        change=transition.change.value,
        state=transition.state.value,
    )
