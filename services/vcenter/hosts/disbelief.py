"""What vCenter does not believe of what a host says of its VMs. Pure (C28).

A host gets the keys of all VMs of its cluster. It says itself which VMs it has and which keys they
need, so without a check a host in the hands of an intruder could have any key whose id it knows:
it would only have to list a VM that needs it.

| the host lists | believed |
|---|---|
| a VM of its own cluster | yes |
| a VM of another cluster | no: it moves between clusters by a task only |
| a VM that is not known, or is known without keys, with keys of no other cluster | yes |
| the same, with a key that VMs or hosts of another cluster use | no |
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from protocol.messages.host import VmSummary
from protocol.terms import ClusterName, CryptoKeyId, VmName
from services.vcenter.tables import VmRow


@dataclass(frozen=True)
class Disbelief:
    """What a host said of ``vm`` that is not believed, ``why``, and the keys it asked for so."""

    vm: VmName
    keys: tuple[CryptoKeyId, ...]
    why: str


def disbelief(
    cluster: ClusterName,
    vm: VmSummary,
    row: VmRow | None,
    used_elsewhere: Callable[[CryptoKeyId], bool],
) -> Disbelief | None:
    """Why the word of a host of ``cluster`` on ``vm`` is not believed; None when it is.

    ``row``: what the inventory has of the VM. ``used_elsewhere``: whether VMs or hosts of other
    clusters use a key.
    """
    if row is not None and row.cluster != cluster:
        why = f"it lists virtual machine {vm.vm}, which is in cluster {row.cluster}"
        return Disbelief(vm.vm, vm.keys, why)
    if not vm.keys or (row is not None and row.keys):
        return None
    theirs = tuple(key for key in vm.keys if used_elsewhere(key))
    if not theirs:
        return None
    return Disbelief(vm.vm, theirs, f"it names keys of another cluster for {vm.vm}")


def believed(
    cluster: ClusterName,
    vms: Collection[VmSummary],
    rows: Mapping[VmName, VmRow],
    used_elsewhere: Callable[[CryptoKeyId], bool],
) -> tuple[tuple[VmSummary, ...], tuple[Disbelief, ...]]:
    """What a host of ``cluster`` says of its VMs, parted into what is believed and what is not."""
    kept: list[VmSummary] = []
    refused: list[Disbelief] = []
    for vm in vms:
        why = disbelief(cluster, vm, rows.get(vm.vm), used_elsewhere)
        if why is None:
            kept.append(vm)
        else:
            refused.append(why)
    return tuple(kept), tuple(refused)
