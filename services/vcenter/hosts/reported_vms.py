"""What a host's report of its VMs changes in the inventory. Pure.

A VM the inventory does not know is taken in: it was made on the host, or by a task of an
earlier life of vCenter that did not come to its end. A VM known on another host moves here only
when that host does not claim it (connected, and it lists the VM). Keys are taken over
once and never dropped because of a report, which may be older than a task that just ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from protocol.messages.host import VmSummary
from protocol.terms import ClusterName, NodeName, VmName
from services.vcenter.inventory import Edit, change_vm
from services.vcenter.tables import Row, Table, VmRow


def edits_of_report(
    known: Mapping[VmName, VmRow],
    host: NodeName,
    cluster: ClusterName,
    reported: Iterable[VmSummary],
    claimed_by: Callable[[NodeName, VmName], bool],
) -> list[Edit]:
    """Edits that carry ``reported`` into the inventory; none when nothing is new."""
    edits: list[Edit] = []
    for vm in reported:
        row = known.get(vm.vm)
        if row is None:
            edits.append(Edit(Table.VM, vm.vm, _new_row(host, cluster, vm)))
        elif row.host != host:
            if not claimed_by(row.host, vm.vm):
                edits.append(change_vm(vm.vm, host=host, cluster=cluster, power=vm.power))
        else:
            if row.power is not vm.power:
                edits.append(change_vm(vm.vm, power=vm.power))
            if vm.keys and not row.keys:
                edits.append(change_vm(vm.vm, keys=vm.keys))
    return edits


def _new_row(
    host: NodeName, cluster: ClusterName, vm: VmSummary
) -> Callable[[VmRow | None], Row | None]:
    return lambda row: (
        row or VmRow(name=vm.vm, cluster=cluster, host=host, power=vm.power, keys=vm.keys)
    )
