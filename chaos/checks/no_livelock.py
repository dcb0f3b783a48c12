"""After everything is healed no node keeps retrying: messages per host and minute stay low.

The counters of the nodes right after the heal are held against those at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chaos.checks.result import CheckOutcome, Finding
from chaos.history import Record

LEAST_S: Final = 20.0  # lab seconds between heal and end below which nothing can be said
MOST: Final = 300.0  # requests per host and minute of the whole lab; an idle one makes some 20


def no_livelock(records: Sequence[Record]) -> Finding:
    """Pass when the rate of requests from the last heal to the end is at most ``MOST`` per host and
    minute. Unknown when it was measured for less than ``LEAST_S``.

    ``counters`` states, one per node, are recorded at the start, after the heal and at the end.
    """
    healed = max((r.seq for r in records if r.type == "heal"), default=None)
    if healed is None:
        return Finding(CheckOutcome.UNKNOWN, "nothing was healed")
    first: dict[str, Record] = {}
    last: dict[str, Record] = {}
    for record in records:
        if record.type == "state" and record.op == "counters" and record.seq > healed:
            first.setdefault(record.node, record)
            last[record.node] = record
    spans = [last[node].t - first[node].t for node in last]
    if not spans or max(spans) < LEAST_S:
        return Finding(CheckOutcome.UNKNOWN, f"no {LEAST_S:g} s were measured after the heal")
    grown = {
        node: max(0, record.data.get("requests", 0) - first[node].data.get("requests", 0))
        for node, record in last.items()
        if record.data.get("boot") == first[node].data.get("boot")
    }
    hosts = sum(1 for record in last.values() if record.data.get("role") == "esxi") or 1
    rate = sum(grown.values()) / hosts / (max(spans) / 60)
    text = f"{rate:.0f} requests per host and minute"
    if rate > MOST:
        worst = max(grown, key=lambda node: grown[node])
        where = (first[worst].seq, last[worst].seq)
        return Finding(CheckOutcome.FAIL, f"{text}, most of them by {worst}", where)
    return Finding(CheckOutcome.PASS, text)
