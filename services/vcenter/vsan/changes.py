"""A change of a cluster's vSAN encryption (enable, disable, rekey, another provider): its
requirements, the creation of its keys (VSAN-01, C3), which objects are accessible (VSAN-04), and
its steps at all hosts. vCenter keeps ids and never a key's value.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from protocol import scopes
from protocol.errors import InvalidArgument, InvalidState, NotAvailable, NotFound, ProductError
from protocol.messages.host.vsan import (
    ApplyVsanEncryption,
    PrepareVsanEncryption,
    QueryVsan,
    VsanState,
)
from protocol.messages.vcenter.vsan import VsanObject, VsanPlace
from protocol.terms import ClusterName, CryptoKeyId, NodeName, ProviderId
from protocol.vsan import (
    ComponentKind,
    ComponentState,
    VsanChange,
    VsanComponent,
    VsanDiskGroup,
    VsanEncryption,
    VsanPlacement,
    VsanTransitionState,
)
from services.runtime.each import for_each, try_each
from services.vcenter.hosts.session import HostSession
from services.vcenter.inventory import Edit, change_cluster
from services.vcenter.providers.capabilities import CAPABILITIES
from services.vcenter.providers.native import check_backed_up
from services.vcenter.tables import (
    ClusterRow,
    DatabaseTable,
    ProviderRow,
    VsanGroupKey,
    VsanKeys,
    VsanRow,
    VsanTransition,
)
from services.vcenter.vcenter import VCenter
from services.vcenter.vsan.host_configuration import build_encryption


def vsan_edit(cluster: ClusterName, **fields: object) -> Edit:
    """Set these fields of its ``VsanRow``; no change when it has none."""

    def change(row: ClusterRow | None) -> ClusterRow | None:
        if row is None or row.vsan is None:
            return row
        return msgspec.structs.replace(row, vsan=msgspec.structs.replace(row.vsan, **fields))

    return Edit(DatabaseTable.CLUSTER, cluster, change)


def cluster_row(vc: VCenter, name: ClusterName) -> ClusterRow:
    """The row of the cluster; ``NotFound`` when there is no such cluster."""
    row = vc.inventory.clusters.get(name)
    if row is None:
        raise NotFound(f"there is no cluster {name}")
    return row


def require_provider(vc: VCenter, name: ProviderId | None) -> ProviderRow:
    """The provider that the administrator names; the default is never used (VSAN-01)."""
    if not name:
        raise InvalidArgument("kms_provider_id: vSAN encryption names its key provider")
    row = vc.inventory.providers.get(name)
    if row is None:
        raise NotFound(f"there is no key provider {name}")
    if not CAPABILITIES[row.management_type].vsan:
        kind = row.management_type.value
        raise NotAvailable(f"vSAN encryption is not supported with key provider {name} ({kind})")
    return row


async def states(vc: VCenter, cluster: ClusterName) -> dict[NodeName, VsanState]:
    """The states of the connected hosts of the cluster; silent ones are left out."""
    here = [vc.sessions.find_connected(row.name) for row in vc.inventory.hosts_of(cluster)]
    sessions = [session for session in here if session is not None]
    answers = await try_each(sessions, lambda session: session.ask(QueryVsan()), name="vsan")
    return {
        session.host: answer
        for session, answer in zip(sessions, answers, strict=True)
        if isinstance(answer, VsanState)
    }


async def present(vc: VCenter, cluster: ClusterName) -> list[HostSession]:
    """The hosts that take part in a change, each with mounted disk groups.

    ``InvalidState``: the cluster has no vSAN, a host is absent (unless the knob ignores it, C25),
    or a disk group is not mounted.
    """
    rows = vc.inventory.hosts_of(cluster)
    found = await states(vc, cluster)
    absent = [row.name for row in rows if row.name not in found]
    if absent and vc.node.knobs.vsan_rekey_with_absent_host == "refuse":
        raise InvalidState(f"cluster {cluster}: hosts are absent: {', '.join(absent)}")
    check_mounted(cluster, found)
    sessions = [vc.sessions.find_connected(row.name) for row in rows if row.name in found]
    return [session for session in sessions if session is not None]


def check_mounted(cluster: ClusterName, found: Mapping[NodeName, VsanState]) -> None:
    """``InvalidState`` when no host has disk groups, or one of them is not mounted."""
    if not any(state.groups for state in found.values()):
        raise InvalidState(f"cluster {cluster} has no vSAN: no host of it has a disk group")
    unmounted = [
        f"{group.group} of {host}"
        for host, state in found.items()
        for group in state.groups
        if not group.mounted
    ]
    if unmounted:
        raise InvalidState(f"cluster {cluster}: not mounted: {', '.join(unmounted)}")


async def groups_of(vc: VCenter, cluster: ClusterName) -> list[tuple[NodeName, str]]:
    """The disk groups of the hosts that answer, each with its host."""
    found = await states(vc, cluster)
    return [(host, group.group) for host, state in found.items() for group in state.groups]


def check_idle(row: ClusterRow) -> None:
    """``InvalidState`` while another change is in progress."""
    if row.vsan is not None and row.vsan.transition is not None:
        change = row.vsan.transition.change.value
        raise InvalidState(f"cluster {row.name}: vSAN encryption is changing ({change})")


def members(vc: VCenter, cluster: ClusterName) -> Sequence[NodeName]:
    """The hosts of the cluster by name."""
    return sorted(row.name for row in vc.inventory.hosts_of(cluster))


def objects(
    placed: Mapping[str, Sequence[VsanPlacement]],
    groups: Mapping[NodeName, Sequence[VsanDiskGroup]],
) -> tuple[VsanObject, ...]:
    """Every object with its components; ``groups``: of the hosts that answer."""
    found = []
    for name in sorted(placed):
        newest = _newest(name, placed[name], groups)
        places = tuple(_place(name, one, groups, newest) for one in placed[name])
        found.append(_object(name, places))
    return tuple(found)


def _place(
    name: str,
    placement: VsanPlacement,
    groups: Mapping[NodeName, Sequence[VsanDiskGroup]],
    newest: int,
) -> VsanPlace:
    states = [
        ComponentState.STALE if _is_old(component, newest) else component.state
        for component in _parts(name, groups.get(placement.host, ()))
    ]
    state = ComponentState.ACTIVE if ComponentState.ACTIVE in states else None
    return VsanPlace(
        host=placement.host,
        kind=placement.kind.value,
        state=state or (states[0] if states else ComponentState.ABSENT),
    )


def _parts(name: str, groups: Sequence[VsanDiskGroup]) -> list[VsanComponent]:
    return [part for group in groups for part in group.components if part.object == name]


def _newest(
    name: str,
    placed: Sequence[VsanPlacement],
    groups: Mapping[NodeName, Sequence[VsanDiskGroup]],
) -> int:
    parts = [part for place in placed for part in _parts(name, groups.get(place.host, ()))]
    return max((part.stamp for part in parts), default=0)


def _is_old(part: VsanComponent, newest: int) -> bool:
    """Whether it is a replica of an older write; a witness with an older write keeps its vote."""
    active = part.state is ComponentState.ACTIVE and part.kind is ComponentKind.REPLICA
    return active and part.stamp < newest


def _object(name: str, components: tuple[VsanPlace, ...]) -> VsanObject:
    active = [c for c in components if c.state is ComponentState.ACTIVE]
    whole = any(c.kind == ComponentKind.REPLICA.value for c in active)
    accessible = whole and 2 * len(active) > len(components)
    return VsanObject(object=name, accessible=accessible, components=components)


def survives_without(
    placed: Mapping[str, Sequence[VsanPlacement]],
    groups: Mapping[NodeName, Sequence[VsanDiskGroup]],
    host: NodeName,
) -> str | None:
    """The first object that would be inaccessible without that host; None when there is none."""
    others = {name: found for name, found in groups.items() if name != host}
    return next((o.object for o in objects(placed, others) if not o.accessible), None)


AT_ONCE: Final = 16


async def new_keys(
    vc: VCenter,
    cluster: ClusterName,
    provider: ProviderRow,
    operation: str,
    before: VsanKeys,
    groups: Sequence[tuple[NodeName, str]],
    *,
    deep: bool,
    erase: bool,
) -> VsanKeys:
    """A configuration with a new KEK and host key of that provider.

    By knob ``vsan_kek_scope`` each of the ``groups`` has a KEK of its own instead, and so does each
    group that had one ``before`` and is not seen now (C3). ``KeyProviderUnreachable`` and the like
    when the provider creates none, ``InvalidState`` for a native one without a backup.
    """
    per_group = vc.node.knobs.vsan_kek_scope == "diskGroup"
    made = VsanKeys(
        encryption_enabled=True,
        provider=provider.name,
        management_type=provider.management_type,
        dek_generation=before.dek_generation + deep,
        erase_disks_before_use=erase,
        per_group=per_group,
    )
    if per_group:
        had = {(one.host, one.group) for one in before.group_keks}
        keks = await _group_keks(vc, cluster, provider, operation, sorted({*groups, *had}))
        made = msgspec.structs.replace(made, group_keks=keks)
    else:
        kek, check = await _make(vc, cluster, provider, f"{operation}/kek")
        made = msgspec.structs.replace(made, kek=kek, kek_check=check)
    host_key, check = await _make(vc, cluster, provider, f"{operation}/hostkey")
    return msgspec.structs.replace(made, host_key=host_key, host_key_check=check)


async def cover(vc: VCenter, cluster: ClusterName, host: NodeName, groups: Sequence[str]) -> None:
    """Later groups get KEKs of their own, durably (C3).

    No change when they have them, or the cluster has one KEK for all. The caller holds the turn of
    the cluster's changes. Raises as ``new_keys``.
    """
    row = cluster_row(vc, cluster).vsan or VsanRow()
    lacking = [(host, group) for group in groups if not row.keys.covers(host, group)]
    if not lacking:
        return
    provider = require_provider(vc, row.keys.provider)
    more = await _group_keks(vc, cluster, provider, row.operation, lacking)
    keys = msgspec.structs.replace(row.keys, group_keks=(*row.keys.group_keks, *more))
    await vc.inventory.commit(vsan_edit(cluster, keys=keys))


async def _group_keks(
    vc: VCenter,
    cluster: ClusterName,
    provider: ProviderRow,
    operation: str,
    groups: Sequence[tuple[NodeName, str]],
) -> tuple[VsanGroupKey, ...]:
    made = await for_each(
        groups,
        lambda of: _make(vc, cluster, provider, f"{operation}/kek/{of[0]}/{of[1]}"),
        at_once=AT_ONCE,
        name="vsan-kek",
    )
    return tuple(
        VsanGroupKey(host=host, group=group, kek=kek, kek_check=check)
        for (host, group), (kek, check) in zip(groups, made, strict=True)
    )


async def _make(
    vc: VCenter, cluster: ClusterName, provider: ProviderRow, operation: str
) -> tuple[CryptoKeyId, str]:
    """A key of that provider, which the hosts of the cluster may fetch, and the check value of a
    derived key.

    ``NotFound`` when the provider was deleted meanwhile.
    """
    provider = vc.provider(provider.name)
    if CAPABILITIES[provider.management_type].derived:
        check_backed_up(provider)
        key = vc.providers.native.new_key(provider)
        return key, vc.providers.native.check(provider, key)
    key_provider = vc.providers.require_provider(provider.name)
    key_id = await key_provider.make_key(f"{vc.node.name}/vsan/{operation}")
    await key_provider.grant_key(key_id, scopes.of_vsan(vc.node.name, cluster))
    return CryptoKeyId(key_id, provider.name), ""


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
