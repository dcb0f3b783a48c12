"""No VM went down or was locked because of a fault that the rules call harmless to it."""

from __future__ import annotations

from collections.abc import Sequence

from chaos.checks.result import CheckOutcome, Finding
from chaos.checks.states import judge_states
from chaos.history import Record


def no_needless_outage(records: Sequence[Record]) -> Finding:
    """Pass when the rules allow every outage and lock of a VM.

    Unknown when no VM was looked at under a fault.
    """
    found = judge_states(records)
    down = [breach for breach in found.breaches if breach.outage]
    if down:
        text = "; ".join(str(breach) for breach in down[:5])
        return Finding(CheckOutcome.FAIL, text, tuple(breach.seq for breach in down))
    if found.lost:
        text = f"the oracle does not know what {found.lost} leads to; it was followed until then"
        return Finding(CheckOutcome.UNKNOWN, text)
    if not (found.looks and found.faults and found.vms):
        return Finding(CheckOutcome.UNKNOWN, "no VM was looked at under a fault")
    return Finding(CheckOutcome.PASS, f"{found.vms} VMs under {found.faults} faults")
