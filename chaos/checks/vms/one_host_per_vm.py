"""No two hosts run one VM: never do several hosts report that they run it in two looks in a row.

A VM that is on its way from one host to another may be told of by both in one look, because hosts
are asked one after the other; two looks later it is on one of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from chaos.checks.result import CheckOutcome, Finding
from chaos.history import Record


def one_host_per_vm(records: Sequence[Record]) -> Finding:
    """Pass when each VM that ran had one host; unknown when none ran.

    Reads ``vm`` states, which name the VMs that several hosts list at a look, and ``look``.
    """
    bad: list[str] = []
    where: list[int] = []
    running: dict[str, dict[str, int]] = {}  # VM -> host -> record, since the last look
    before: frozenset[str] = frozenset()
    seen = False
    for record in records:
        if record.type != "state" or record.op not in ("vm", "look"):
            continue
        if record.op == "vm":
            hosts = running.setdefault(record.node, {})
            if record.data["power"] == "poweredOn":
                seen = True
                hosts[str(record.data["host"])] = record.seq
            continue
        twice = frozenset(vm for vm, hosts in running.items() if len(hosts) > 1)
        for vm in sorted(twice & before):
            bad.append(f"{vm} runs on {' and '.join(sorted(running[vm]))} at {record.t:g} s")
            where += sorted(running[vm].values())
        before, running = twice, {}
    if bad:
        return Finding(CheckOutcome.FAIL, "; ".join(bad[:5]), tuple(where))
    if not seen:
        return Finding(CheckOutcome.UNKNOWN, "no VM ran")
    return Finding(CheckOutcome.PASS, "each VM that ran had one host")
