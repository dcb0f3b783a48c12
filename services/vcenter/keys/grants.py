"""Which cluster was given which key, for which virtual machine (C28). Pure.

Hosts report their VMs and the keys that these need, and key ids stand in clear on datastores. So
a report grants nothing: vCenter delivers a key to the hosts of a cluster when a *grant* of that
cluster is recorded, and a grant is recorded by a task only.

| task | grants |
|---|---|
| create, encrypt, recrypt or clone a VM, add a disk or a virtual TPM | the key made for it |
| clone a VM with the keys of its source | the source's keys, as far as they are granted |
| register or unlock a VM | the keys that its host names, unless they belong to others |
| take a VM from another vCenter | the keys that the other vCenter names |

A grant ends when the VM is unregistered, destroyed, decrypted, recrypted, or leaves for another
vCenter. An ended grant is kept as a record: a host may name the key for that VM again, and for no
other one. Removing a host from the inventory ends no grant, since its VMs come back with it.

Keys that hosts derive or fetch by themselves (native and trusted providers) need no grant: vCenter
has no value to deliver.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from protocol.terms import ClusterName, CryptoKeyId, ManagementType, ProviderId, VmName
from services.vcenter.inventory import Edit, put
from services.vcenter.providers.capabilities import of_provider
from services.vcenter.tables import DatabaseTable, GrantRow


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
