"""A key id always has the same value everywhere: key server, cache and store of each host.

Reads the ``values`` states: each place as a register per key id that may be written once.
"""

from __future__ import annotations

from collections.abc import Sequence

from chaos.checks.result import CheckOutcome, Finding
from chaos.history import Record


def one_key_one_value(records: Sequence[Record]) -> Finding:
    """Pass when every key that was seen in more than one place, or twice, had the same value.

    Unknown when no key was seen in two places.
    """
    first: dict[str, tuple[int, Record]] = {}
    places: dict[str, set[tuple[str, str]]] = {}
    bad: list[str] = []
    where: list[int] = []
    for record in records:
        if record.type != "state" or record.op != "values":
            continue
        place = str(record.data.get("place", ""))
        for key, value in record.data.get("keys", {}).items():
            known, before = first.setdefault(key, (value, record))
            places.setdefault(key, set()).add((record.node, place))
            if value != known:
                there = f"{before.data.get('place')} of {before.node} at {before.t:g} s"
                bad.append(f"{key} in the {place} of {record.node} is not that in the {there}")
                where += [before.seq, record.seq]
    if bad:
        return Finding(CheckOutcome.FAIL, "; ".join(bad[:5]), tuple(dict.fromkeys(where)))
    shared = sum(len(seen) > 1 for seen in places.values())
    if not shared:
        return Finding(CheckOutcome.UNKNOWN, "no key was seen in two places")
    return Finding(CheckOutcome.PASS, f"{len(first)} keys, {shared} of them in several places")
