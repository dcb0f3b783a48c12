"""What a host's report says of VMs that move between two vCenters (MOB-07). Pure.

| this vCenter | the VM, not in its inventory | is |
|---|---|---|
| expects it from another one | does not run on the host | no news: it waits for its memory there |
| expects it | runs on the host | here: it has arrived, with the keys that the other vCenter named |
| expects it | runs on a host of another cluster | no news: it was to come to this one |
| has seen it leave, and this host had it or was away | does not run | no news: it is to drop it |
| anything else | | taken as any other |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from protocol.events import EventTypeId
from protocol.messages.host import VmSummary
from protocol.terms import CryptoKeyId, NodeName, PowerState, VmName
from services.vcenter.events import EventDraft
from services.vcenter.inventory import Edit, change_vm, put
from services.vcenter.keys.grants import grant_keys
from services.vcenter.removals import cancel_releases
from services.vcenter.tables import DatabaseTable, HostRow, Relocation, RelocationRow, VmRow


def of_relocations(
    relocations: Mapping[VmName, RelocationRow],
    known: Mapping[VmName, VmRow],
    hosts: Mapping[NodeName, HostRow],
    host: NodeName,
    reported: Iterable[VmSummary],
) -> tuple[tuple[VmSummary, ...], list[Edit], list[EventDraft]]:
    """The VMs of a report by ``host`` that count; and for those that it shows to have arrived, the
    edits and events."""
    news: list[VmSummary] = []
    edits: list[Edit] = []
    events: list[EventDraft] = []
    for vm in reported:
        row = relocations.get(vm.vm)
        if row is None or vm.vm in known:
            news.append(vm)
        elif vm.power is PowerState.ON and row.state is Relocation.EXPECTED:
            if not _is_expected_in(hosts, row.host, host):
                continue
            news.append(vm)
            edits += (
                put(DatabaseTable.RELOCATION, row.name, mark_arrived(row)),
                change_vm(row.name, migrate_encryption=row.migrate_encryption),
                *cancel_releases(vm.keys),
                *grant_keys(row.name, hosts[host].cluster, row.keys),
            )
            events.append(arrival(row.name, host, row.peer, vm.keys))
        elif vm.power is PowerState.ON:
            news.append(vm)
        elif not row.is_past(host):
            news.append(vm)
    return tuple(news), edits, events


def _is_expected_in(hosts: Mapping[NodeName, HostRow], expected: NodeName, host: NodeName) -> bool:
    """Whether ``host`` is in the cluster of the host to which the VM was to move."""
    there = hosts.get(expected)
    return there is not None and there.cluster == hosts[host].cluster


def mark_arrived(row: RelocationRow) -> RelocationRow:
    """The row of a VM that has arrived by that move."""
    return msgspec.structs.replace(row, state=Relocation.ARRIVED, before=None)


def arrival(
    vm: VmName, host: NodeName, peer: NodeName, keys: tuple[CryptoKeyId, ...]
) -> EventDraft:
    """The event of a VM that has arrived."""
    return EventDraft(
        event=EventTypeId.VM_RELOCATED,
        text=f"Virtual machine {vm} was relocated from vCenter {peer} to {host}",
        host=host,
        vm=vm,
        provider=keys[0].provider_id if keys else None,
        keys=keys,
    )
