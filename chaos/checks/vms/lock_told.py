"""vCenter shows which VMs are locked, and its events report the start and end of each lock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from chaos.checks.result import CheckOutcome, Finding
from chaos.history import Record

QUIET_S: Final = 120.0
"""Lab seconds after which vCenter must show a lock that a host tells, if it sees the host and no
fault began or ended meanwhile."""
_UNSEEN: Final = ("disconnected", "orphaned")
_CHANGES: Final = ("fault", "heal")
_TAKEN_OUT: Final = ("vm.unregister", "vm.destroy", "vm.move")
"""Operations that take a VM out of the inventory. Its lock ends with that, and no event says so."""


def lock_told(records: Sequence[Record]) -> Finding:
    """Pass when an event reported the lock of every VM that was marked as locked, the last such
    event agrees with the mark at the end, and each VM that its host has had locked for
    ``QUIET_S`` has a mark then. A VM that left the inventory needs no event for the end of its
    lock.

    ``marks`` states name the VMs that a vCenter has as ``locked``. ``lock_events`` of the end has
    in ``told``, for each VM and oldest first, whether each event reports a lock, and in ``locked``
    the marks of the end; vCenter shows none for a VM that is ``running``. ``vm`` states and
    ``alarms`` of the end have the hosts' own reports. Unknown when nothing was marked and nothing
    had to be, or nothing was read at the end.
    """
    marked: dict[str, int] = {}
    taken_out: set[str] = set()
    end: Record | None = None
    for record in records:
        if record.type == "invoke" and record.op in _TAKEN_OUT:
            taken_out.add(record.node)
        if record.type != "state":
            continue
        if record.op == "marks":
            for vm in record.data.get("locked", ()):
                marked.setdefault(vm, record.seq)
        elif record.op == "lock_events":
            end = record
    unmarked = _find_unmarked(records)
    if unmarked:
        return Finding(CheckOutcome.FAIL, "; ".join(unmarked.values()), tuple(unmarked))
    if not marked:
        return Finding(CheckOutcome.UNKNOWN, _nothing_marked(records))
    if end is None or not end.data.get("told"):
        return Finding(CheckOutcome.UNKNOWN, "vCenter's events were not read at the end")
    wrong: dict[str, str] = {}
    for vm, told in end.data["told"].items():
        if True not in told:
            wrong[vm] = f"{vm} was locked, and no event told of it"
        elif told[-1] and vm in taken_out:
            continue
        elif vm not in end.data["running"] and told[-1] != (vm in end.data["locked"]):
            wrong[vm] = f"{vm} is {'un' * told[-1]}locked, and no event told of it"
    if wrong:
        where = (*(marked[vm] for vm in wrong if vm in marked), end.seq)
        return Finding(CheckOutcome.FAIL, "; ".join(wrong.values()), where)
    return Finding(CheckOutcome.PASS, f"every lock of {len(end.data['told'])} VMs was told")


def _find_unmarked(records: Sequence[Record]) -> dict[int, str]:
    """Of each VM that vCenter does not show as locked though it must: the record in which its host
    first told the lock, and a text."""
    end = next((r for r in reversed(records) if r.type == "state" and r.op == "alarms"), None)
    if end is None:
        return {}
    quiet_since = max((r.t for r in records if r.type in _CHANGES), default=0.0)
    since = _begins_of_locks(records)
    found: dict[int, str] = {}
    for vm, seen in end.data["vms"].items():
        if vm not in since or not _must_be_marked(seen):
            continue
        locked_for = end.t - max(since[vm].t, quiet_since)
        if locked_for >= QUIET_S:
            found[since[vm].seq] = (
                f"{vm} is locked at its host for {locked_for:g} s, and vCenter does not show it"
            )
    return found


def _must_be_marked(seen: Mapping[str, Any]) -> bool:
    locked = seen["crypto"] == "locked" and seen["power"] == "poweredOff"
    return locked and not seen["marked"] and seen["connection"] not in _UNSEEN


def _begins_of_locks(records: Sequence[Record]) -> dict[str, Record]:
    """Of each VM that its host has as locked at the end, the record since which it does."""
    since: dict[str, Record] = {}
    for record in records:
        if record.type != "state" or record.op != "vm":
            continue
        if record.data["crypto"] != "locked":
            since.pop(record.node, None)
        else:
            since.setdefault(record.node, record)
    return since


def _nothing_marked(records: Sequence[Record]) -> str:
    locked = {
        r.node
        for r in records
        if r.type == "state" and r.op == "vm" and r.data["crypto"] == "locked"
    }
    if not locked:
        return "no VM was locked in this run"
    return f"vCenter was not seen to mark {', '.join(sorted(locked))}, which a host had as locked"
