"""Every fault that started was seen to end; irreversible ones were declared to stay."""

from __future__ import annotations

from collections.abc import Sequence

from chaos.checks.result import CheckOutcome, Finding
from chaos.history import ActiveFaults, Record


def no_fault_left(records: Sequence[Record]) -> Finding:
    """Pass when every fault has ended at the end of the run, or is declared to have no undo.

    A ``fault`` record begins an interval, by ``data.id``. A ``heal`` record ends it, or has
    ``stays``: the fault has no undo.
    """
    active = ActiveFaults()
    seen = 0
    for record in records:
        seen += record.type == "fault"
        active.take(record)
    if left := active.ids_to_heal():
        where = tuple(active.began[id].seq for id in left)
        return Finding(CheckOutcome.FAIL, f"still there: {', '.join(left)}", where)
    if not seen:
        return Finding(CheckOutcome.UNKNOWN, "no fault was injected")
    kept = f", {len(active.stays)} irreversible by design" if active.stays else ""
    return Finding(CheckOutcome.PASS, f"{seen} faults, all seen gone{kept}")
