"""No VM is in the inventories of two vCenters at the end: a VM that moves to another vCenter leaves
the first one (MOB-07)."""

from __future__ import annotations

from collections.abc import Sequence

from chaos.checks.result import CheckOutcome, Finding
from chaos.history import Record


def one_vcenter_per_vm(records: Sequence[Record]) -> Finding:
    """Pass when no two ``inventory`` states of the end name one VM. Unknown where one vCenter has
    all hosts, and when one of several did not answer."""
    lists = [r for r in records if r.type == "state" and r.op == "inventory"]
    if not lists:
        return Finding(CheckOutcome.UNKNOWN, "the inventories of several vCenters were not read")
    where: dict[str, list[Record]] = {}
    for record in lists:
        for vm in record.data["vms"]:
            where.setdefault(vm, []).append(record)
    twice = {vm: there for vm, there in where.items() if len(there) > 1}
    if not twice:
        text = f"{len(where)} VMs at {len(lists)} vCenters, each at one of them"
        return Finding(CheckOutcome.PASS, text)
    told = "; ".join(
        f"{vm} is at {' and at '.join(record.node for record in there)}"
        for vm, there in sorted(twice.items())
    )
    seqs = sorted({record.seq for there in twice.values() for record in there})
    return Finding(CheckOutcome.FAIL, told, tuple(seqs))
