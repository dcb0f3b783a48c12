"""No guest ever read back other data than it wrote: no answer was wrong.

An answer that fails to come is no violation here; liveness is the hypotheses' business.
"""

from __future__ import annotations

from collections.abc import Sequence

from chaos.checks.result import CheckOutcome, Finding
from chaos.history import Record

OP = "guest.challenge"


def guests_read_back(records: Sequence[Record]) -> Finding:
    """Pass when every answer to a challenge was right. Unknown when no guest answered.

    An answer is an ``ok`` record of ``guest.challenge``; ``data.wrong`` is what was wrong in it.
    """
    right = 0
    wrong: list[int] = []
    texts: list[str] = []
    for record in records:
        if record.op != OP or record.type != "ok":
            continue
        if "wrong" in record.data:
            wrong.append(record.seq)
            texts.append(str(record.data["wrong"]))
        else:
            right += 1
    if wrong:
        return Finding(CheckOutcome.FAIL, "; ".join(texts[:5]), tuple(wrong))
    if not right:
        return Finding(CheckOutcome.UNKNOWN, "no guest answered")
    return Finding(CheckOutcome.PASS, f"{right} answers, all right")
