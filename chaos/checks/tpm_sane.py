"""No TPM enters dictionary-attack lockout because of faults that are harmless to it, such as losses
of power without TPM2_Shutdown (the storage key carries noDA).

A fault that brings the lockout about on purpose excuses the hosts that it touches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chaos.checks.result import CheckOutcome, Finding
from chaos.history import Record

ON_PURPOSE: Final = "tpm.lockout"


def tpm_sane(records: Sequence[Record]) -> Finding:
    """Pass when no ``tpm`` state of any boot is in lockout or at its last try. Unknown when no TPM
    was read twice."""
    excused: set[str] = set()
    read: dict[str, int] = {}
    bad: dict[str, int] = {}
    for record in records:
        if record.type == "fault" and record.op == ON_PURPOSE:
            excused.update(record.data.get("nodes", ()))
        elif record.type == "state" and record.op == "tpm" and record.node not in excused:
            read[record.node] = read.get(record.node, 0) + 1
            tries, most = record.data.get("tries", 0), record.data.get("most", 0)
            if record.data.get("lockout") or (most and tries >= most):
                bad.setdefault(record.node, record.seq)
    if bad:
        return Finding(CheckOutcome.FAIL, f"in lockout: {', '.join(bad)}", tuple(bad.values()))
    if not any(times > 1 for times in read.values()):
        return Finding(CheckOutcome.UNKNOWN, "no TPM was read at two boots")
    return Finding(CheckOutcome.PASS, f"{sum(read.values())} readings of {len(read)} TPMs")
