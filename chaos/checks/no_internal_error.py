"""No service met an error it did not expect, none ended by an unhandled exception, none dropped a
message it could not read, and the broker refused no subject (to a node that publishes or subscribes
as another).

Reads the ``counters`` states, one per node, that the engine writes at the begin and at the end, and
the ``node`` states of those that fell by themselves. A disk that refuses is the world's doing.
"""

from __future__ import annotations

from collections.abc import Sequence

from chaos.checks.result import CheckOutcome, Finding
from chaos.history import Record

_EXCEPTIONS = ("background ", "start: ")
"""How the text begins of a node that an exception ended; a screen at which a boot had stopped is
there too when it is powered off."""
WATCHED = ("internal_errors", "forged", "malformed", "violations")


def no_internal_error(records: Sequence[Record]) -> Finding:
    """Pass when no watched counter of any node has grown, and none fell by itself; unknown when the
    counters were not read twice."""
    first: dict[str, Record] = {}
    last: dict[str, Record] = {}
    bad: list[str] = []
    where: list[int] = []
    for record in records:
        if record.type == "state" and record.op == "counters":
            first.setdefault(record.node, record)
            last[record.node] = record
        of_node = record.type == "state" and record.op == "node"
        fell = str(record.data.get("fell", "")) if of_node else ""
        if fell.startswith(_EXCEPTIONS):
            bad.append(f"{record.node} fell: {fell}")
            where.append(record.seq)
    if not bad and all(last[node] is first[node] for node in last):
        return Finding(CheckOutcome.UNKNOWN, "the counters were not read at begin and end")
    for node, record in last.items():
        for counter in WATCHED:
            before = first[node].data.get(counter, 0)
            grown = record.data.get(counter, 0) - before
            if grown > 0:
                bad.append(f"{node}: {grown} {counter}")
                where.append(record.seq)
    if bad:
        return Finding(CheckOutcome.FAIL, "; ".join(bad), tuple(where))
    return Finding(CheckOutcome.PASS, f"none at {len(last)} nodes")
