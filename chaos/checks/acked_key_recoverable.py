"""A key whose creation was acknowledged is there at the end (destroyed on purpose excepted).

Set algebra as in queue checkers: acknowledged - available = lost; operations that ended
``info`` may go either way and are not counted.
"""

from __future__ import annotations

from collections.abc import Sequence

from chaos.checks.result import CheckOutcome, Finding
from chaos.history import Record


def acked_key_recoverable(records: Sequence[Record]) -> Finding:
    """Pass when every acknowledged key can still be had from its provider at the end.

    ``ok`` records with ``data.key`` acknowledge; the ``keys`` states of the end list what the
    provider can still give (``available``) and that it could be asked at all (``asked``)."""
    acked: dict[str, int] = {}
    available: set[str] = set()
    asked: set[str] = set()
    destroyed = False
    for record in records:
        key = record.data.get("key")
        if record.type == "ok" and isinstance(key, str):
            acked.setdefault(key, record.seq)
        elif record.type == "state" and record.op == "keys":
            asked.update(record.data.get("asked", ()))
            available.update(record.data.get("available", ()))
        elif record.type == "fault" and record.op in ("kms.key_state", "provider.delete"):
            destroyed = True
    if not acked:
        return Finding(CheckOutcome.UNKNOWN, "no key was acknowledged in this run")
    lost = [key for key in acked if key in asked and key not in available]
    silent = [key for key in acked if key not in asked]
    if lost and destroyed:
        text = "keys were taken away on purpose; the oracle must judge"
        return Finding(CheckOutcome.UNKNOWN, text)
    if lost:
        where = tuple(acked[key] for key in lost)
        text = f"{len(lost)} of {len(acked)} lost: {', '.join(lost)}"
        return Finding(CheckOutcome.FAIL, text, where)
    if silent:
        return Finding(
            CheckOutcome.UNKNOWN, f"{len(silent)} of {len(acked)} could not be asked for"
        )
    return Finding(CheckOutcome.PASS, f"all {len(acked)} acknowledged keys are available")
