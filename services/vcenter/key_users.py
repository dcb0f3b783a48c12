"""Who uses a key."""

from __future__ import annotations

import msgspec

from protocol.terms import CryptoKeyId, NodeName, VmName
from services.vcenter.inventory import Edit, Inventory
from services.vcenter.tables import KeyRow, Table


def vms_of(inventory: Inventory, key: CryptoKeyId) -> tuple[VmName, ...]:
    """VMs that are encrypted with it."""
    return tuple(inventory.index.vms_with.names(key))


def hosts_of(inventory: Inventory, key: CryptoKeyId) -> tuple[NodeName, ...]:
    """Hosts whose host key it is: their own, else that of their cluster."""
    index = inventory.index
    own = index.hosts_with.names(key)
    shared = [
        host
        for cluster in index.clusters_with.names(key)
        for host in index.hosts_of.names(cluster)
        if inventory.hosts[host].host_key is None
    ]
    return tuple(index.in_order([*own, *shared]))


def note_key(key: CryptoKeyId, **fields: object) -> Edit:
    """Set these fields of what is remembered of a key."""

    def change(row: KeyRow | None) -> KeyRow:
        return msgspec.structs.replace(row or KeyRow(name=str(key), key=key), **fields)

    return Edit(Table.CRYPTO_KEY, str(key), change)
