"""Only the host that runs a VM holds its lock: a VM that runs nowhere can start on any host."""

from __future__ import annotations

from collections.abc import Sequence

from chaos.checks.result import CheckOutcome, Finding
from chaos.history import Record
from chaos.oracle.fold.vms import MOVES


def lock_given_back(records: Sequence[Record]) -> Finding:
    """Pass when no lock prevented the start of a moved VM while no host ran it.

    An ``info`` record of ``vm.move`` or ``vm.restart`` has ``kept``: the reply of the host that was
    refused the lock twice, while every host answered before, between and after, and none ran the
    VM.
    """
    started = 0
    kept: list[Record] = []
    for record in records:
        if record.op not in MOVES:
            continue
        started += record.type == "ok"
        if record.type == "info" and "kept" in record.data:
            kept.append(record)
    if kept:
        text = "; ".join(f"{r.node} runs nowhere: {r.data['kept']}" for r in kept[:5])
        return Finding(CheckOutcome.FAIL, text, tuple(r.seq for r in kept))
    if not started:
        return Finding(CheckOutcome.UNKNOWN, "no VM was started on another host")
    return Finding(CheckOutcome.PASS, f"{started} VMs were started on another host")
