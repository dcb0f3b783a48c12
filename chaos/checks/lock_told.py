"""Whoever reads vCenter's events knows which VMs are locked: the begin and end of each is told."""

from __future__ import annotations

from collections.abc import Sequence

from chaos.checks.result import CheckOutcome, Finding
from chaos.history import Record


def lock_told(records: Sequence[Record]) -> Finding:
    """Pass when an event told of the lock of every VM that was marked as locked, and the last
    such event of each says what its mark says at the end.

    ``marks`` states name the VMs that a vCenter has as ``locked``; ``lock_events`` of the end has
    for each of them in ``told`` whether each event said that it is locked, oldest first, and in
    ``locked`` the marks of the end; vCenter shows none of one that is ``running``. Unknown
    when none was locked, or nothing was read at the end.
    """
    marked: dict[str, int] = {}
    end: Record | None = None
    for record in records:
        if record.type != "state":
            continue
        if record.op == "marks":
            for vm in record.data.get("locked", ()):
                marked.setdefault(vm, record.seq)
        elif record.op == "lock_events":
            end = record
    if not marked:
        return Finding(CheckOutcome.UNKNOWN, "no VM was locked in this run")
    if end is None or not end.data.get("told"):
        return Finding(CheckOutcome.UNKNOWN, "vCenter's events were not read at the end")
    wrong: dict[str, str] = {}
    for vm, told in end.data["told"].items():
        if True not in told:
            wrong[vm] = f"{vm} was locked, and no event told of it"
        elif vm not in end.data["running"] and told[-1] != (vm in end.data["locked"]):
            wrong[vm] = f"{vm} is {'un' * told[-1]}locked, and no event told of it"
    if wrong:
        where = (*(marked[vm] for vm in wrong if vm in marked), end.seq)
        return Finding(CheckOutcome.FAIL, "; ".join(wrong.values()), where)
    return Finding(CheckOutcome.PASS, f"every lock of {len(end.data['told'])} VMs was told")
