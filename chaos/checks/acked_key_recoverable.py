"""A key whose creation was acknowledged is there at the end (destroyed on purpose excepted).

Set algebra as in queue checkers: acknowledged - available = lost; operations that ended
``info`` may go either way and are not counted. Lost ones are told by where they stand among the
acknowledged: a prefix, the middle or the postfix, which say different things of the loser.
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
    destroyed: set[str] = set()
    deleted = False
    lost_on_purpose = ("kms.key_state", "kms.key.revoke", "kms.key.destroy")
    for record in records:
        key, acted = record.data.get("key"), record.type in ("fault", "ok", "info")
        if record.type == "ok" and isinstance(key, str):
            acked.setdefault(key, record.seq)
        elif record.type == "state" and record.op == "keys":
            asked.update(record.data.get("asked", ()))
            available.update(record.data.get("available", ()))
        elif acted and record.op in lost_on_purpose:
            destroyed.update(record.data.get("keys", ()))
        elif acted and record.op == "provider.delete":
            deleted = True
    kept = [key for key in acked if key not in destroyed]
    if not kept:
        return Finding(CheckOutcome.UNKNOWN, "no key was acknowledged in this run, and kept")
    lost = [key for key in kept if key in asked and key not in available]
    silent = [key for key in kept if key not in asked]
    if lost and deleted:
        text = "a provider was deleted: its keys were taken away on purpose"
        return Finding(CheckOutcome.UNKNOWN, text)
    if lost:
        where = tuple(acked[key] for key in lost)
        text = f"{len(lost)} of {len(kept)} lost ({_place(kept, lost)}): {', '.join(lost)}"
        return Finding(CheckOutcome.FAIL, text, where)
    if silent:
        text = f"{len(silent)} of {len(kept)} could not be asked for"
        return Finding(CheckOutcome.UNKNOWN, text)
    return Finding(CheckOutcome.PASS, f"all {len(kept)} acknowledged keys are available")


def _place(kept: Sequence[str], lost: Sequence[str]) -> str:
    """Where the lost ones stand among those that were acknowledged, in order."""
    places = [kept.index(key) for key in lost]
    whole = places == list(range(places[0], places[-1] + 1))
    if len(lost) == len(kept):
        return "all"
    if whole and places[0] == 0:
        return "the first"
    if whole and places[-1] == len(kept) - 1:
        return "the last"
    return "in the middle"
