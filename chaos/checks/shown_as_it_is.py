"""vCenter shows hosts and VMs at the end of a run as the hosts report themselves, and key providers
as their servers and hosts are. It accepts the TPM of each host whose TPM and firmware were left
unchanged (ATT-09)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chaos.checks.result import CheckOutcome, Finding
from chaos.history import Record

_MEASURED: Final = ("tpm.", "host.boot", "host.tpm", "host.reinstall", "host.firmware", "vcenter.")
"""Faults and actions after which vCenter may refuse a TPM, or not know it any more."""


def shown_as_it_is(records: Sequence[Record]) -> Finding:
    """Pass when the ``shown`` state of the end has nothing in ``differ`` (one sentence per host, VM
    or provider that vCenter shows differently) and no unchanged host in ``refused``.

    Unknown when nothing was looked at, or when no vCenter or no host answered.
    """
    end = next((r for r in reversed(records) if r.type == "state" and r.op == "shown"), None)
    if end is None or not end.data["hosts"]:
        return Finding(CheckOutcome.UNKNOWN, "no host was looked at beside its vCenter")
    wrong = [f"{name}: {text}" for name, text in end.data["differ"].items()]
    if not any(r.type in ("fault", "invoke") and r.op.startswith(_MEASURED) for r in records):
        wrong += [f"{host}: vCenter does not accept its TPM" for host in end.data["refused"]]
    if wrong:
        return Finding(CheckOutcome.FAIL, "; ".join(wrong[:5]), (end.seq,))
    text = f"vCenter shows {end.data['hosts']} hosts and {end.data['vms']} VMs as they are"
    return Finding(CheckOutcome.PASS, text)
