"""vSAN encryption of a cluster on request: configured, rekeyed, objects and disks.

All changes of one cluster run in one turn, and a repeat of an operation continues it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from protocol import names
from protocol.errors import HostUnreachable, InvalidArgument, InvalidState, NotAvailable
from protocol.messages.host.vsan import (
    AddVsanDisk,
    CreateVsanComponent,
    MountVsanDiskGroups,
    RemoveVsanDisk,
)
from protocol.messages.vcenter.vsan import (
    ChangeVsanDisk,
    CreateVsanObject,
    MountVsanDisks,
    RekeyEncryptedCluster,
    VsanCluster,
    VsanClusterReconfig,
    VsanHost,
)
from protocol.terms import ClusterName, NodeName
from protocol.vsan import ComponentKind, VsanChange, VsanPlacement
from services.vcenter.inventory import Edit
from services.vcenter.tables import ClusterRow, DatabaseTable, VsanKeys, VsanRow, VsanTransition
from services.vcenter.vcenter import VCenter
from services.vcenter.vsan.changes import (
    APPLY_S,
    begin,
    carry_on,
    check_idle,
    cluster_row,
    cover_group,
    groups_of,
    members,
    new_keys,
    objects,
    present,
    require_provider,
    states,
    survives_without,
)
from services.vcenter.vsan.host_configuration import config_of

MOST_BLOCKS = 1024
_KINDS = (ComponentKind.REPLICA, ComponentKind.REPLICA, ComponentKind.WITNESS)


async def reconfigure(vc: VCenter, message: VsanClusterReconfig) -> VsanCluster:
    """Encrypt the cluster's vSAN, decrypt it, or change its provider; settled when it answers."""
    row, wish = cluster_row(vc, message.cluster), message.data_encryption_config
    if await _is_repeat(vc, row, message.operation_id):
        return await query(vc, message.cluster)
    check_idle(row)
    now = VsanKeys() if row.vsan is None else row.vsan.keys
    if not wish.encryption_enabled:
        if now.encryption_enabled:
            await present(vc, message.cluster)
            target = VsanKeys(dek_generation=now.dek_generation)
            transition = VsanTransition(change=VsanChange.DISABLE, target=target)
            await begin(vc, message.cluster, message.operation_id, transition)
        return await query(vc, message.cluster)
    if wish.erase_disks_before_use:
        raise NotAvailable("erase_disks_before_use: disks are not overwritten here; leave it off")
    provider = require_provider(vc, wish.kms_provider_id)
    if now.encryption_enabled and now.provider == provider.name:
        return await query(vc, message.cluster)
    await present(vc, message.cluster)
    change = VsanChange.PROVIDER if now.encryption_enabled else VsanChange.ENABLE
    target = await new_keys(
        vc,
        message.cluster,
        provider,
        message.operation_id,
        now,
        await groups_of(vc, message.cluster),
        deep=change is VsanChange.ENABLE,
        erase=wish.erase_disks_before_use,
    )
    transition = VsanTransition(change=change, target=target)
    await begin(vc, message.cluster, message.operation_id, transition)
    return await query(vc, message.cluster)


async def rekey(vc: VCenter, message: RekeyEncryptedCluster) -> VsanCluster:
    """A new KEK and host key, and with ``deep_rekey`` new data keys."""
    row = cluster_row(vc, message.cluster)
    if await _is_repeat(vc, row, message.operation_id):
        return await query(vc, message.cluster)
    check_idle(row)
    if row.vsan is None or not row.vsan.keys.encryption_enabled:
        raise InvalidState(f"cluster {row.name}: vSAN is not encrypted")
    if message.allow_reduced_redundancy and not message.deep_rekey:
        raise InvalidArgument("allow_reduced_redundancy: a shallow rekey moves no data")
    now = row.vsan.keys
    provider = require_provider(vc, now.provider)
    await present(vc, message.cluster)
    if message.deep_rekey:
        await _check_room(vc, message, row.vsan)
    target = await new_keys(
        vc,
        message.cluster,
        provider,
        message.operation_id,
        now,
        await groups_of(vc, message.cluster),
        deep=message.deep_rekey,
        erase=now.erase_disks_before_use,
    )
    transition = VsanTransition(
        change=VsanChange.DEEP_REKEY if message.deep_rekey else VsanChange.SHALLOW_REKEY,
        target=target,
        allow_reduced_redundancy=message.allow_reduced_redundancy,
    )
    await begin(vc, message.cluster, message.operation_id, transition)
    return await query(vc, message.cluster)


async def _check_room(vc: VCenter, message: RekeyEncryptedCluster, row: VsanRow) -> None:
    """Each object must be accessible without any one host. A group with data is evacuated to
    another one of its host, unless reduced redundancy is allowed."""
    there = await states(vc, message.cluster)
    groups = {host: state.groups for host, state in there.items()}
    for host in there:
        lost = survives_without(row.objects, groups, host)
        if lost is not None:
            raise InvalidState(f"{lost} would be inaccessible without {host}: make it whole before")
    if message.allow_reduced_redundancy:
        return
    for host, state in there.items():
        data = any(c.blocks for group in state.groups for c in group.components)
        if data and len(state.groups) < 2:
            raise InvalidState(
                f"{host}: its disk group cannot be evacuated to another one there; allow reduced "
                "redundancy, or add a disk group"
            )


async def _is_repeat(vc: VCenter, row: ClusterRow, operation: str) -> bool:
    """Whether this operation was begun before; it is then completed."""
    if row.vsan is None or row.vsan.operation != operation:
        return False
    await carry_on(vc, row.name)
    return True


# ---- objects and disks --------------------------------------------------------------------------


async def create_object(vc: VCenter, message: CreateVsanObject) -> VsanCluster:
    """Two replicas and a witness; their places are durable before they are created.

    A component that existed before is created ``again``: guests may have written since, even to an
    object that is not complete. New components are created first: the others ask them.
    """
    row = cluster_row(vc, message.cluster)
    names.VSAN_OBJECT.check(message.object)
    if not 0 < message.blocks <= MOST_BLOCKS:
        raise InvalidArgument(f"blocks: 1 to {MOST_BLOCKS}")
    there = VsanRow() if row.vsan is None else row.vsan
    placed = there.objects.get(message.object)
    unmade = there.unmade.get(message.object, ())
    if placed is None:
        placed = await _places(vc, message.cluster)
        unmade = tuple(place.host for place in placed)
        await vc.inventory.commit(_with_object(message.cluster, message.object, placed))
    else:
        await _check_components(vc, message, placed)
    for place in sorted(placed, key=lambda place: place.host not in unmade):
        command = CreateVsanComponent(
            object=message.object,
            kind=place.kind,
            blocks=message.blocks if place.kind is ComponentKind.REPLICA else 0,
            marker=f"{message.cluster}/{message.object}".encode(),
            places=placed,
            again=place.host not in unmade,
        )
        await vc.sessions.usable(place.host).command(command, within_s=APPLY_S)
        if place.host in unmade:
            await vc.inventory.commit(
                _record_component(message.cluster, message.object, place.host)
            )
    return await query(vc, message.cluster)


async def _check_components(
    vc: VCenter, message: CreateVsanObject, placed: Sequence[VsanPlacement]
) -> None:
    """The existing replicas of the object must have the requested size.

    A new component must not be begun while one may still exist somewhere: its hosts must answer,
    and have no unmounted disk group.
    """
    there = await states(vc, message.cluster)
    for host in (place.host for place in placed):
        if host not in there:
            text = f"{host} has a component of {message.object}, and does not answer"
            raise HostUnreachable(text)
        groups = there[host].groups
        parts = [p for g in groups for p in g.components if p.object == message.object]
        if not parts and not all(group.mounted for group in groups):
            raise InvalidState(f"{host}: a group that is not mounted may have {message.object}")
        has = next((p.blocks for p in parts if p.kind is ComponentKind.REPLICA), message.blocks)
        if has != message.blocks:
            raise InvalidArgument(f"blocks: {message.object} is there, and has {has}")


async def _places(vc: VCenter, cluster: ClusterName) -> tuple[VsanPlacement, ...]:
    """Three hosts with mounted groups, those with the fewest components first."""
    loads = []
    for host, state in (await states(vc, cluster)).items():
        if state.groups and all(group.mounted for group in state.groups):
            parts = [c for group in state.groups for c in group.components]
            loads.append((len(parts), sum(c.blocks for c in parts), host))
    if len(loads) < len(_KINDS):
        raise InvalidState(
            f"cluster {cluster}: three hosts whose disk groups are mounted are needed"
        )
    chosen = sorted(loads)[: len(_KINDS)]
    return tuple(
        VsanPlacement(host=host, kind=kind)
        for (_, _, host), kind in zip(chosen, _KINDS, strict=True)
    )


def _with_object(cluster: ClusterName, name: str, placed: tuple[VsanPlacement, ...]) -> Edit:
    def change(row: ClusterRow | None) -> ClusterRow | None:
        if row is None:
            return None
        old = row.vsan or VsanRow()
        new = msgspec.structs.replace(
            old,
            objects={name: placed, **old.objects},
            unmade={**old.unmade, name: tuple(place.host for place in placed)},
        )
        return msgspec.structs.replace(row, vsan=new)

    return Edit(DatabaseTable.CLUSTER, cluster, change)


def _record_component(cluster: ClusterName, name: str, host: NodeName) -> Edit:
    """This host has its component: if it is created there again, it was lost."""

    def change(row: ClusterRow | None) -> ClusterRow | None:
        if row is None or row.vsan is None:
            return row
        left = tuple(other for other in row.vsan.unmade.get(name, ()) if other != host)
        others = {one: hosts for one, hosts in row.vsan.unmade.items() if one != name}
        unmade = {**others, name: left} if left else others
        return msgspec.structs.replace(row, vsan=msgspec.structs.replace(row.vsan, unmade=unmade))

    return Edit(DatabaseTable.CLUSTER, cluster, change)


async def change_disk(vc: VCenter, message: ChangeVsanDisk) -> VsanCluster:
    """Add or remove a disk of a group of a host (VSAN-05)."""
    host = vc.host(message.host)
    names.VSAN_DISK.check(message.disk)
    session = vc.sessions.usable(host.name)
    if not message.remove:
        await cover_group(vc, host.cluster, session, message.group)
    kind = RemoveVsanDisk if message.remove else AddVsanDisk
    await session.command(kind(group=message.group, disk=message.disk), within_s=APPLY_S)
    return await query(vc, host.cluster)


async def mount(vc: VCenter, message: MountVsanDisks) -> VsanCluster:
    """Have the host try again; the answer has the reasons of unmounted groups."""
    host = vc.host(message.host)
    await vc.sessions.usable(host.name).command(MountVsanDiskGroups(), within_s=APPLY_S)
    return await query(vc, host.cluster)


async def query(vc: VCenter, cluster: ClusterName) -> VsanCluster:
    """The present state; hosts are asked now."""
    found = await states(vc, cluster)
    row = cluster_row(vc, cluster).vsan
    transition = None if row is None else row.transition
    return VsanCluster(
        cluster=cluster,
        config=config_of(row),
        change=None if transition is None else transition.change,
        hosts=tuple(
            VsanHost(
                host=name,
                answers=name in found,
                groups=found[name].groups if name in found else (),
            )
            for name in members(vc, cluster)
        ),
        objects=objects(
            {} if row is None else row.objects,
            {name: state.groups for name, state in found.items()},
        ),
    )
