"""Which reports of a host about its VMs vCenter does not believe. Pure (C28).

A host reports which VMs it has and which keys they need. The report grants no key
(``services.vcenter.keys.grants``), but it fills the inventory, where a user may unlock the VM.

| the host lists | believed |
|---|---|
| a VM of its own cluster, or an unknown one | yes |
| the same, with a key that belongs to other VMs, or to hosts of another cluster | no |
| a VM of another cluster | no: it moves between clusters by a task only |

A believed VM with a key that its cluster was not given is in the inventory, and locked unless its
host has the key.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from protocol.messages.host import VmSummary
from protocol.terms import ClusterName, CryptoKeyId, VmName
from services.vcenter.tables import VmRow

BelongsToOthers = Callable[[ClusterName, VmName, CryptoKeyId], bool]
"""Whether a key is known not to belong to a VM in a cluster (``Inventory.belongs_to_others``)."""


@dataclass(frozen=True)
class Disbelief:
    """A report about ``vm`` that is not believed, ``why``, and the keys in it."""

    vm: VmName
    keys: tuple[CryptoKeyId, ...]
    why: str


def disbelief(
    cluster: ClusterName,
    vm: VmName,
    keys: tuple[CryptoKeyId, ...],
    row: VmRow | None,
    belongs_to_others: BelongsToOthers,
) -> Disbelief | None:
    """Why a host of ``cluster`` that lists ``vm`` with ``keys`` is not believed; None when it is.

    ``row``: the VM's row in the inventory.
    """
    if row is not None and row.cluster != cluster:
        why = f"it lists virtual machine {vm}, which is in cluster {row.cluster}"
        return Disbelief(vm, keys, why)
    theirs = tuple(key for key in keys if belongs_to_others(cluster, vm, key))
    if not theirs:
        return None
    return Disbelief(vm, theirs, f"it names keys for {vm} that belong to others")


def split_believed(
    cluster: ClusterName,
    vms: Collection[VmSummary],
    rows: Mapping[VmName, VmRow],
    belongs_to_others: BelongsToOthers,
) -> tuple[tuple[VmSummary, ...], tuple[Disbelief, ...]]:
    """The reports of a host of ``cluster``, split into believed and disbelieved ones."""
    kept: list[VmSummary] = []
    refused: list[Disbelief] = []
    for vm in vms:
        why = disbelief(cluster, vm.vm, vm.keys, rows.get(vm.vm), belongs_to_others)
        if why is None:
            kept.append(vm)
        else:
            refused.append(why)
    return tuple(kept), tuple(refused)
