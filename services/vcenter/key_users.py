"""Who uses a key, and which keys vCenter knows. Pure."""

from __future__ import annotations

import msgspec

from protocol.terms import CryptoKeyId, NodeName, VmName
from services.vcenter.inventory import Edit, Inventory
from services.vcenter.tables import KeyRow, Table


def vms_of(inventory: Inventory, key: CryptoKeyId) -> tuple[VmName, ...]:
    """VMs that are encrypted with it."""
    return tuple(vm.name for vm in inventory.vms.values() if key in vm.keys)


def hosts_of(inventory: Inventory, key: CryptoKeyId) -> tuple[NodeName, ...]:
    """Hosts whose host key it is: their own, else that of their cluster."""
    found: list[NodeName] = []
    for host in inventory.hosts.values():
        cluster = inventory.clusters.get(host.cluster)
        shared = None if cluster is None else cluster.host_key
        if key == (host.host_key or shared):
            found.append(host.name)
    return tuple(found)


def used_keys(inventory: Inventory) -> tuple[CryptoKeyId, ...]:
    """Keys of VMs and host keys, each once."""
    found: dict[CryptoKeyId, None] = {}
    for vm in inventory.vms.values():
        found.update(dict.fromkeys(vm.keys))
    for cluster in inventory.clusters.values():
        if cluster.host_key is not None:
            found[cluster.host_key] = None
    for host in inventory.hosts.values():
        if host.host_key is not None:
            found[host.host_key] = None
    return tuple(found)


def known_keys(inventory: Inventory) -> tuple[CryptoKeyId, ...]:
    """Used keys and those made or added on request, without those that were forgotten."""
    found = dict.fromkeys(used_keys(inventory))
    found.update(dict.fromkeys(row.key for row in inventory.keys.values() if row.listed))
    return tuple(key for key in found if not inventory.is_forgotten(key))


def note_key(key: CryptoKeyId, **fields: object) -> Edit:
    """Set these fields of what is remembered of a key."""

    def change(row: KeyRow | None) -> KeyRow:
        return msgspec.structs.replace(row or KeyRow(name=str(key), key=key), **fields)

    return Edit(Table.CRYPTO_KEY, str(key), change)
