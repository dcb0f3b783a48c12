"""A VM whose creation was acknowledged is in vCenter's inventory at the end, under its key.

Answered means durable: crashes and losses of power lie between the answer and the end.
"""

from __future__ import annotations

from collections.abc import Sequence

from chaos.checks.result import CheckOutcome, Finding
from chaos.history import Record

_TAKEN = ("vm.unregister", "vm.destroy")  # out of the inventory on purpose


def acked_vm_known(records: Sequence[Record]) -> Finding:
    """Pass when every acknowledged VM is listed at the end with the key of the reply.

    ``ok`` records with ``data.vm`` and ``data.key`` acknowledge. The ``vms`` state of the end has
    the key under which each is ``listed``. Unknown when none was made, or vCenter did not answer.
    """
    acked: dict[str, tuple[str, int]] = {}
    listed: dict[str, str | None] | None = None
    for record in records:
        vm, key = record.data.get("vm"), record.data.get("key")
        if record.op in _TAKEN and record.type in ("ok", "info"):
            acked.pop(record.node, None)
        if record.type == "ok" and isinstance(vm, str) and isinstance(key, str):
            acked[vm] = (key, record.seq)
        elif record.type == "state" and record.op == "vms":
            listed = record.data.get("listed", {})
    if not acked:
        return Finding(CheckOutcome.UNKNOWN, "no VM was made in this run")
    if listed is None:
        return Finding(CheckOutcome.UNKNOWN, "vCenter's inventory was not read at the end")
    lost = [vm for vm, (key, _) in acked.items() if listed.get(vm) != key]
    if lost:
        where = tuple(acked[vm][1] for vm in lost)
        text = f"{len(lost)} of {len(acked)} lost, or under another key: {', '.join(lost)}"
        return Finding(CheckOutcome.FAIL, text, where)
    return Finding(CheckOutcome.PASS, f"all {len(acked)} acknowledged VMs are known")
