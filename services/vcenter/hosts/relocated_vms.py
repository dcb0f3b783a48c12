"""What a host's report says of VMs that move between two vCenters (MOB-07). Pure.

| this vCenter | the VM, not in its inventory | is |
|---|---|---|
| expects it from another one | does not run on the host | no news: it waits for its memory there |
| expects it | runs on the host | here: it has arrived |
| has seen it leave from this host | does not run | no news: the host is told to drop it |
| anything else | | taken as any other |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from protocol.events import EventTypeId
from protocol.messages.host import VmSummary
from protocol.terms import CryptoKeyId, NodeName, PowerState, VmName
from services.vcenter.events import Draft
from services.vcenter.inventory import Edit, change_vm, put
from services.vcenter.removals import used_again
from services.vcenter.tables import Relocation, RelocationRow, Table, VmRow


def of_relocations(
    relocations: Mapping[VmName, RelocationRow],
    known: Mapping[VmName, VmRow],
    host: NodeName,
    reported: Iterable[VmSummary],
) -> tuple[tuple[VmSummary, ...], list[Edit], list[Draft]]:
    """What of a report by ``host`` is news, and, for VMs that it shows to have arrived, edits that
    say so and their events."""
    news: list[VmSummary] = []
    edits: list[Edit] = []
    events: list[Draft] = []
    for vm in reported:
        row = relocations.get(vm.vm)
        if row is None or vm.vm in known:
            news.append(vm)
        elif vm.power is PowerState.ON:
            news.append(vm)
            if row.state is Relocation.EXPECTED:
                arrived = msgspec.structs.replace(row, state=Relocation.ARRIVED)
                policy = row.migrate_encryption
                edits += (
                    put(Table.RELOCATION, row.name, arrived),
                    change_vm(row.name, migrate_encryption=policy),
                    *used_again(vm.keys),
                )
                events.append(arrival(row.name, host, row.peer, vm.keys))
        elif row.state is Relocation.ARRIVED or (
            row.state is not Relocation.EXPECTED and row.host != host
        ):
            news.append(vm)
    return tuple(news), edits, events


def arrival(vm: VmName, host: NodeName, peer: NodeName, keys: tuple[CryptoKeyId, ...]) -> Draft:
    """The event of a VM that has come."""
    return Draft(
        event=EventTypeId.VM_RELOCATED,
        text=f"Virtual machine {vm} was relocated from vCenter {peer} to {host}",
        host=host,
        vm=vm,
        provider=keys[0].provider_id if keys else None,
        keys=keys,
    )
