"""The use of keys, as queries and edits of the inventory: the users of a key, which cluster was
given which key for which VM (C28), and removals from hosts of keys that nothing uses and of
deleted providers (STD-17). Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from protocol.terms import ClusterName, CryptoKeyId, ManagementType, NodeName, ProviderId, VmName
from services.vcenter.inventory import Edit, Inventory, drop, put
from services.vcenter.providers.capabilities import of_provider
from services.vcenter.tables import CryptoKeyRow, DatabaseTable, DeletedRow, GrantRow, ReleasedRow


def vms_of(inventory: Inventory, key: CryptoKeyId) -> tuple[VmName, ...]:
    """VMs that are encrypted under it."""
    return tuple(inventory.index.vms_with.names(key))


def hosts_of(inventory: Inventory, key: CryptoKeyId) -> tuple[NodeName, ...]:
    """Hosts whose host key it is, their own or their cluster's, and hosts whose encrypted vSAN uses
    it as the KEK of one disk group or of all."""
    index = inventory.index
    own = index.hosts_with.names(key)
    shared = [
        host
        for cluster in index.clusters_with.names(key)
        for host in index.hosts_of.names(cluster)
        if (row := inventory.hosts.get(host)) is not None and row.host_key is None
    ]
    vsan = [
        host
        for cluster in index.vsans_with.names(key)
        for host in _with_vsan_key(inventory, cluster, key)
    ]
    return tuple(index.in_order(dict.fromkeys([*own, *shared, *vsan])))


def _with_vsan_key(
    inventory: Inventory, cluster: ClusterName, key: CryptoKeyId
) -> Sequence[NodeName]:
    here = inventory.index.hosts_of.names(cluster)
    row = inventory.clusters[cluster].vsan
    own = None if row is None else row.users_of(key)
    return here if own is None else [host for host in here if host in own]


def note_key(key: CryptoKeyId, **fields: object) -> Edit:
    """Set these fields of the key's row."""

    def change(row: CryptoKeyRow | None) -> CryptoKeyRow:
        return msgspec.structs.replace(row or CryptoKeyRow(name=str(key), key=key), **fields)

    return Edit(DatabaseTable.CRYPTO_KEY, str(key), change)


def grant_keys(vm: VmName, cluster: ClusterName, keys: Iterable[CryptoKeyId]) -> tuple[Edit, ...]:
    """Record that ``keys`` are given to ``cluster`` for ``vm``, which is in one cluster only."""
    rows = (GrantRow.of(vm, cluster, key) for key in keys)
    return tuple(put(DatabaseTable.GRANT, row.name, row) for row in rows)


def end_grants(vm: VmName, keys: Iterable[CryptoKeyId]) -> tuple[Edit, ...]:
    """End the grants of ``keys`` for ``vm``; no change where there is none."""
    return tuple(Edit(DatabaseTable.GRANT, GrantRow.name_of(vm, key), _end) for key in keys)


def keys_from_vcenter(
    keys: Iterable[CryptoKeyId], types: Mapping[ProviderId, ManagementType]
) -> tuple[CryptoKeyId, ...]:
    """Those of ``keys`` that need a grant: vCenter delivers their values to hosts.

    Keys of a missing provider are among them: the provider may come back.
    """
    return tuple(key for key in keys if not of_provider(types, key.provider_id).self_served)


def _end(row: GrantRow | None) -> GrantRow | None:
    return None if row is None else msgspec.structs.replace(row, ended=True)


def release_keys(keys: Iterable[CryptoKeyId], hosts: Sequence[NodeName]) -> tuple[Edit, ...]:
    """Keys that these hosts must drop. A key that a VM uses, still or again, stays all the same."""
    return tuple(_release(key, hosts) for key in keys)


def _release(key: CryptoKeyId, hosts: Sequence[NodeName]) -> Edit:
    return Edit(DatabaseTable.RELEASED, str(key), lambda there: _with_hosts(there, key, hosts))


def cancel_releases(keys: Iterable[CryptoKeyId]) -> tuple[Edit, ...]:
    """Keys that a VM uses again: no host must drop them."""
    return tuple(drop(DatabaseTable.RELEASED, str(key)) for key in keys)


def record_dropped(key: CryptoKeyId, host: NodeName) -> Edit:
    """The host has dropped the released key."""
    return Edit(DatabaseTable.RELEASED, str(key), lambda there: _without_host(there, host))


def record_evicted(provider: ProviderId, host: NodeName) -> Edit:
    """The keys of the deleted provider have left the host."""

    def change(row: DeletedRow | None) -> DeletedRow | None:
        if row is None or host in row.evicted_from:
            return row
        return msgspec.structs.replace(row, evicted_from=(*row.evicted_from, host))

    return Edit(DatabaseTable.DELETED, provider, change)


def not_wanted_there(
    keys: Sequence[CryptoKeyId], host: NodeName, deleted: Mapping[ProviderId, DeletedRow]
) -> tuple[Edit, ...]:
    """These keys may have arrived at the host after their removal: remove them once more."""
    providers = dict.fromkeys(key.provider_id for key in keys)
    return (
        *release_keys(keys, (host,)),
        *(_not_evicted(name, host) for name in providers if name in deleted),
    )


def host_left(host: NodeName, deleted: Mapping[ProviderId, DeletedRow]) -> tuple[Edit, ...]:
    """The host left the inventory: no provider's keys count as evicted there any more.

    Its released keys are still to be dropped: it may come back with them.
    """
    return tuple(
        _not_evicted(name, host) for name, row in deleted.items() if host in row.evicted_from
    )


def _not_evicted(provider: ProviderId, host: NodeName) -> Edit:
    def change(row: DeletedRow | None) -> DeletedRow | None:
        if row is None:
            return None
        others = tuple(name for name in row.evicted_from if name != host)
        return msgspec.structs.replace(row, evicted_from=others)

    return Edit(DatabaseTable.DELETED, provider, change)


def _with_hosts(
    there: ReleasedRow | None, key: CryptoKeyId, hosts: Sequence[NodeName]
) -> ReleasedRow | None:
    known = () if there is None else there.hosts
    waiting = (*known, *(host for host in hosts if host not in known))
    return ReleasedRow(name=str(key), key=key, hosts=waiting) if waiting else None


def _without_host(there: ReleasedRow | None, host: NodeName) -> ReleasedRow | None:
    if there is None:
        return None
    left = tuple(name for name in there.hosts if name != host)
    return msgspec.structs.replace(there, hosts=left) if left else None
