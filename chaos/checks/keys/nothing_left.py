"""After an acknowledged ``disable --remove-all-stored-keys`` that host's disk, written or synced,
and its TPM hold no persisted key, whatever happens until persistence is enabled.

Reads the ``remains`` states: the archives on the disk, opened behind the host's back, and every
other file and the TPM's memory, searched for the keys that were found in one.
"""

from __future__ import annotations

from collections.abc import Sequence

from chaos.checks.result import CheckOutcome, Finding
from chaos.history import Record


def nothing_left(records: Sequence[Record]) -> Finding:
    """Pass when no look after a removal found a key. Unknown when nothing was removed that had
    been there, and when an archive could not be opened."""
    removed = looks = 0
    bad: list[str] = []
    where: list[int] = []
    closed: list[str] = []
    for record in records:
        if record.type != "state" or record.op != "remains":
            continue
        keys = record.data.get("keys", {})
        if record.data.get("when") == "before":
            removed += sum(map(len, keys.values()))
            continue
        looks += 1
        closed += [f"{path} of {record.node}" for path in record.data.get("closed", ())]
        for path, ids in keys.items():
            bad.append(f"{len(ids)} keys in {path} of {record.node} at {record.t:g} s")
            where.append(record.seq)
    if bad:
        return Finding(CheckOutcome.FAIL, "; ".join(bad[:5]), tuple(dict.fromkeys(where)))
    if closed:
        return Finding(CheckOutcome.UNKNOWN, f"could not be opened: {', '.join(closed[:5])}")
    if not removed or not looks:
        return Finding(CheckOutcome.UNKNOWN, "no stored keys were removed")
    return Finding(CheckOutcome.PASS, f"{looks} looks after removals found nothing")
