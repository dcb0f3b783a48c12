"""Key servers that replicate have the same keys in the same states at the end, and no id has two
materials: an id that two of them gave to two keys while they were separated cannot be repaired.

Servers are compared with those that they replicate with. Reads the ``group`` and ``replicas``
states of servers that replicate, after the answer or before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chaos.checks.result import CheckOutcome, Finding
from chaos.history import Record


def replicas_agree(records: Sequence[Record]) -> Finding:
    """Pass when all servers of a group that answered at the end have the same content.

    Unknown without replicating servers, or when fewer than two of a group answered.
    """
    breaches: dict[str, tuple[str, int]] = {}
    last: dict[str, Record] = {}
    for record in records:
        if record.type != "state":
            continue
        if record.op == "group":
            for key, peer in record.data.get("breaches", ()):
                breaches.setdefault(str(key), (f"{record.node} and {peer}", record.seq))
        elif record.op == "replicas":
            last[record.node] = record
    if breaches:
        text = "; ".join(f"{key} is two keys, on {who}" for key, (who, _) in breaches.items())
        return Finding(
            CheckOutcome.FAIL, text, tuple(dict.fromkeys(n for _, n in breaches.values()))
        )
    groups: dict[tuple[str, ...], dict[str, Record]] = {}
    for server, record in last.items():
        groups.setdefault(tuple(record.data.get("group", ())), {})[server] = record
    found = [_compare_servers(group) for group in groups.values() if len(group) > 1]
    if not found:
        return Finding(CheckOutcome.UNKNOWN, "no two servers that replicate were asked at the end")
    worst = [one for one in found if one.result is CheckOutcome.FAIL]
    text = "; ".join(one.text for one in worst or found)
    return Finding((worst or found)[0].result, text, tuple(n for one in worst for n in one.records))


def _compare_servers(last: Mapping[str, Record]) -> Finding:
    """The servers of one group."""
    records = tuple(r.seq for r in last.values())
    ids = max(r.data["ids"] for r in last.values())
    differing = max(r.data["differing"] for r in last.values())
    if not differing:
        if len({(r.data["keys"], r.data["contents"]) for r in last.values()}) > 1:
            text = f"{', '.join(last)} have not the same, and no key was found that differs"
            return Finding(CheckOutcome.FAIL, text, records)
        return Finding(CheckOutcome.PASS, f"{', '.join(last)} have the same {ids} keys")
    has: dict[str, Mapping[str, int]] = {server: r.data["differ"] for server, r in last.items()}
    first = min(key for keys in has.values() for key in keys)
    lacking = [server for server, keys in has.items() if first not in keys]
    how = f"not on {', '.join(lacking)}" if lacking else "not in the same state everywhere"
    text = f"{differing} of {ids} keys differ: {first} is {how}"
    return Finding(CheckOutcome.FAIL, text, records)
