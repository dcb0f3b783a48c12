"""Hosts that booted had their VMs running again without any call to a key server.

Reads the ``recovery`` states that ``chaos.observe.boots`` writes: one per boot of a host
that had running VMs. The calls are counted in the key servers' own audit trails.
"""

from __future__ import annotations

from collections.abc import Sequence

from chaos.checks.result import CheckOutcome, Finding
from chaos.history import Record


def needs_no_kms(records: Sequence[Record]) -> Finding:
    """Pass when all VMs of every host that booted ran again without a call to a key server.

    Unknown when no such host booted, or when an audit trail could not be read.
    """
    found = [r for r in records if r.type == "state" and r.op == "recovery"]
    if not found:
        return Finding(CheckOutcome.UNKNOWN, "no host with running VMs booted")
    never = [r for r in found if r.data.get("seconds") is None]
    if never:
        hosts = ", ".join(dict.fromkeys(r.node for r in never))
        text = f"VMs of {hosts} did not run again"
        return Finding(CheckOutcome.FAIL, text, tuple(r.seq for r in never))
    called = [r for r in found if r.data.get("kms_calls")]
    if called:
        text = ", ".join(f"{r.node}: {r.data['kms_calls']} calls" for r in called)
        return Finding(CheckOutcome.FAIL, text, tuple(r.seq for r in called))
    if any(r.data.get("kms_calls") is None for r in found):
        return Finding(CheckOutcome.UNKNOWN, "a key server's audit trail could not be read")
    return Finding(CheckOutcome.PASS, f"{len(found)} boots, no call to a key server")
