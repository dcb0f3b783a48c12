"""Every fault that began was seen gone at the end; irreversible ones were named as staying."""

from __future__ import annotations

from collections.abc import Sequence

from chaos.checks.result import CheckOutcome, Finding
from chaos.history import Record


def no_fault_left(records: Sequence[Record]) -> Finding:
    """Pass when every fault was seen gone at the end, or has no undo and says so.

    ``fault`` records begin an interval by ``data.id``; ``heal`` records end it, or say with
    ``stays`` that the fault has no undo."""
    open_: dict[str, int] = {}
    seen = stays = 0
    for record in records:
        id = str(record.data.get("id", ""))
        if record.type == "fault":
            seen += 1
            open_[id] = record.seq
        elif record.type == "heal":
            if record.data.get("stays"):
                stays += 1
            if record.data.get("verified") or record.data.get("stays"):
                open_.pop(id, None)
    if open_:
        return Finding(CheckOutcome.FAIL, f"still there: {', '.join(open_)}", tuple(open_.values()))
    if not seen:
        return Finding(CheckOutcome.UNKNOWN, "no fault was injected")
    kept = f", {stays} irreversible by design" if stays else ""
    return Finding(CheckOutcome.PASS, f"{seen} faults, all seen gone{kept}")
