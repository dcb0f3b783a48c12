"""Each host and VM was at all times what the rules let it be under the faults of the moment, but
for a grace after each change."""

from __future__ import annotations

from collections.abc import Sequence

from chaos.checks.result import CheckOutcome, Finding
from chaos.checks.states import judged
from chaos.history import Record


def truth_table(records: Sequence[Record]) -> Finding:
    """Pass when no look of the run found a host or VM otherwise than ``chaos.oracle`` allows.

    Unknown when nothing was looked at, or nothing was ever wrong in the run.
    """
    found = judged(records)
    if found.breaches:
        text = "; ".join(str(breach) for breach in found.breaches[:5])
        more = len(found.breaches) - 5
        text += f"; and {more} more" if more > 0 else ""
        return Finding(CheckOutcome.FAIL, text, tuple(breach.seq for breach in found.breaches))
    if found.lost:
        text = f"the oracle does not know what {found.lost} leads to; it was followed until then"
        return Finding(CheckOutcome.UNKNOWN, text)
    if not found.looks:
        return Finding(CheckOutcome.UNKNOWN, "no host was looked at")
    if not found.faults:
        return Finding(CheckOutcome.UNKNOWN, "nothing was wrong in this run")
    return Finding(CheckOutcome.PASS, f"{found.looks} looks under {found.faults} faults")
