"""The changes that a host's report of its VMs makes in the inventory. Pure.

An unknown VM is added: it was created on the host, or by an unfinished task of an earlier life of
vCenter. ``whereabouts`` decides on which host a VM is that several hosts list.

The keys that a VM needs are in its configuration on the datastore, and its host reports them (ADR
80). A report that differs from the inventory is right: a task that changes a VM's keys commands the
VM's host, and a report that a command may have overtaken is not believed (``HostReport``). The
inventory may be old because it was restored from a backup, or because the configuration was changed
at the host itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from protocol.messages.host import VmSummary
from protocol.terms import ClusterName, NodeName, VmConnectionState, VmName
from services.vcenter.hosts.whereabouts import VmPlace
from services.vcenter.inventory import Edit, change_vm, new_vm
from services.vcenter.keys.grants import end_grants
from services.vcenter.removals import cancel_releases, release_keys
from services.vcenter.tables import HostRow, VmRow


def edits_of_report(
    known: Mapping[VmName, VmRow],
    hosts: Mapping[NodeName, HostRow],
    host: NodeName,
    reported: Iterable[VmSummary],
    place_of: Callable[[VmName], VmPlace | None],
) -> list[Edit]:
    """Edits that bring ``reported`` by ``host`` into the inventory; none when nothing is new.

    ``place_of``: the place of a VM by all hosts' reports, this one included.
    """
    edits: list[Edit] = []
    for vm in reported:
        row, place = known.get(vm.vm), place_of(vm.vm)
        if place is None or place.host not in hosts:
            continue
        if row is None:
            if place.host == host:
                edits.append(new_vm(row_of(vm, host, hosts[host].cluster)))
        elif row.host != place.host:
            cluster = hosts[place.host].cluster
            edits.append(change_vm(vm.vm, host=place.host, cluster=cluster, power=place.power))
        elif place.host == host:
            if row.power is not vm.power:
                edits.append(change_vm(vm.vm, power=vm.power))
            if vm.keys != row.keys and not is_unreadable(vm):
                edits += _keys_of(row, vm, hosts)
            if vm.vtpm is True and not row.vtpm:
                edits.append(change_vm(vm.vm, vtpm=True))
            copies = copies_of(vm)
            if copies != {name: getattr(row, name) for name in copies}:
                edits.append(change_vm(vm.vm, **copies))
    return edits


def _keys_of(row: VmRow, vm: VmSummary, hosts: Mapping[NodeName, HostRow]) -> tuple[Edit, ...]:
    """Take over the keys of a VM.

    Its earlier keys are released if a task was changing them. A host's report alone removes no key;
    it grants none either (C28), and may be a lie.
    """
    edits = (change_vm(vm.vm, keys=vm.keys, recrypting=False), *cancel_releases(vm.keys))
    if not row.recrypting:
        return edits
    there = [name for name, other in hosts.items() if other.cluster == row.cluster]
    gone = [key for key in row.keys if key not in vm.keys]
    return (*edits, *release_keys(gone, there), *end_grants(vm.vm, gone))


def is_unreadable(vm: VmSummary) -> bool:
    """Whether its host cannot read its configuration, and so knows none of its keys."""
    return vm.connection is VmConnectionState.INVALID and vm.crypto is None


def row_of(vm: VmSummary, host: NodeName, cluster: ClusterName) -> VmRow:
    """The row of a VM that is added to the inventory as its host reports it."""
    return VmRow(
        name=vm.vm,
        cluster=cluster,
        host=host,
        power=vm.power,
        keys=vm.keys,
        vtpm=vm.vtpm is True,
        **copies_of(vm),
    )


def copies_of(vm: VmSummary) -> dict[str, Any]:
    """The fields of a VM that its host alone decides: the next report corrects a late one."""
    return {
        "snapshots": () if vm.snapshots is msgspec.UNSET else vm.snapshots,
        "with_memory": () if vm.with_memory is msgspec.UNSET else vm.with_memory,
        "template": vm.template is True,
        "unreadable": is_unreadable(vm),
    }
