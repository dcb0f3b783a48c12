"""Commands that were sent back to back took effect in the order in which they were accepted.

Judged where nobody else had a hand in it: no other operation on the VM overlapped the pair, and
no fault but one of links was there meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence

from chaos.checks.result import CheckOutcome, Finding
from chaos.history import ActiveFaults, Record
from chaos.oracle.fold.vms import MOVES, POWERS, TAKEN

OP = "vm.off_on"
_HARMLESS = "link."
_OTHERS = (*POWERS, *TAKEN, *MOVES)


def accepted_order_kept(records: Sequence[Record]) -> Finding:
    """Pass when each VM ended in the state of the last command of its pair.

    An ``ok`` record of ``vm.off_on`` has the state that was ``wanted`` last, and the state that the
    host had ``left``.
    """
    began: dict[int, Record] = {}
    busy: dict[str, set[int]] = {}  # operations under way, by VM
    disturbed: set[int] = set()
    active = ActiveFaults()
    good, bad = 0, []
    for record in records:
        number = record.data.get("n", 0)
        active.take(record)
        if record.type == "fault" and not record.op.startswith(_HARMLESS):
            disturbed.update(began)
        elif record.type == "invoke" and record.op in _OTHERS:
            there = busy.setdefault(record.node, set())
            if there or not all(one.op.startswith(_HARMLESS) for one in active.began.values()):
                disturbed.update(there | {number})
            there.add(number)
            began[number] = record
        elif number in began and record.op in _OTHERS:
            busy[record.node].discard(number)
            del began[number]
            if record.type != "ok" or record.op != OP or number in disturbed:
                continue
            if record.data.get("left") == record.data.get("wanted"):
                good += 1
            else:
                bad.append(record)
    if bad:
        text = ", ".join(f"{r.node} is {r.data.get('left')}" for r in bad[:5])
        return Finding(CheckOutcome.FAIL, text, tuple(r.seq for r in bad))
    if not good:
        return Finding(CheckOutcome.UNKNOWN, "no pair of commands was undisturbed")
    return Finding(CheckOutcome.PASS, f"{good} pairs, each in its order")
