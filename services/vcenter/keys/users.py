"""The users of a key."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from protocol.terms import ClusterName, CryptoKeyId, NodeName, VmName
from services.vcenter.inventory import Edit, Inventory
from services.vcenter.tables import CryptoKeyRow, DatabaseTable


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
