"""A request that arrived twice had one effect: one key for each operation of a client, and each VM
is on one host. Two hosts may list a VM that was moved, or that vSphere HA may have restarted, but
only one runs it; during a migration one look may see it on both."""

from __future__ import annotations

from collections.abc import Sequence

from chaos.checks.result import CheckOutcome, Finding
from chaos.history import Record
from chaos.oracle.fold.vms import MIGRATE, MOVES


def one_effect(records: Sequence[Record]) -> Finding:
    """Pass when no key server made two keys for one operation, and no VM was on two hosts in one
    look. Unknown when no key server listed its creations at the end.

    Reads ``creations``, and the ``vm`` states between two ``look`` states.
    """
    bad: list[str] = []
    where: list[int] = []
    made = 0
    seen: dict[str, list[tuple[str, bool, int]]] = {}  # each VM's hosts in this look: does it run
    moved: set[str] = set()
    under_way: dict[object, str] = {}  # the VM of each migration that has not ended
    just: set[str] = set()  # VMs that were migrated since the last look
    available: frozenset[str] = frozenset()  # hosts with vSphere HA
    for record in records:
        if record.type == "invoke" and record.op in MOVES:
            moved.add(record.node)
        if record.op == MIGRATE and record.type == "invoke":
            under_way[record.data.get("n")] = record.node
        elif record.op == MIGRATE:
            just.add(under_way.pop(record.data.get("n"), record.node))
        if record.type != "state":
            continue
        if record.op == "staging":
            available = frozenset(record.data.get("ha", ()))
        elif record.op == "look":
            seen.clear()
            just.clear()
        elif record.op == "vm":
            host, runs = str(record.data.get("host", "")), record.data.get("power") == "poweredOn"
            there = seen.setdefault(record.node, [])
            for other, ran, seq in there:
                may_be = record.node in moved or available >= {other, host}
                goes = record.node in just or record.node in under_way.values()
                if other != host and (not may_be or (ran and runs and not goes)):
                    bad.append(f"{record.node} is on {other} and on {host}")
                    where += [seq, record.seq]
            there.append((host, runs, record.seq))
        elif record.op == "creations":
            made += record.data.get("keys", 0)
            for operation, keys in record.data.get("twice", {}).items():
                bad.append(f"{record.node} made {len(keys)} keys for {operation}")
                where.append(record.seq)
    if bad:
        return Finding(CheckOutcome.FAIL, "; ".join(bad[:5]), tuple(where))
    if not made:
        return Finding(CheckOutcome.UNKNOWN, "no key server told what it has made")
    return Finding(CheckOutcome.PASS, f"{made} keys, each for an operation of its own")
