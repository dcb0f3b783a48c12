"""The key of a destroyed VM leaves the memory and the disk of every host.

Judged at the end, for hosts that answer, where nothing was wrong for a reconciliation and a minute
(STD-17).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chaos.checks.result import CheckOutcome, Finding
from chaos.history import Record
from chaos.oracle.fold.settings import SLACK_S, FoldSettings

OP: Final = "held"
"""Of the ``state`` records at the end: which keys of those ``asked`` for a host has in its
``cache``, and in its ``store``."""
_DISTURBS: Final = ("inject", "ending")


def given_up_keys_gone(records: Sequence[Record]) -> Finding:
    """Pass when no host has a key that was given up long enough before. Unknown when none was.

    ``ok`` records with ``gone`` name the keys that were given up.
    """
    gone: dict[str, float] = {}
    calm_since, wait_s = 0.0, FoldSettings().remediation_interval_s + SLACK_S
    looked = 0
    bad: list[str] = []
    where: list[int] = []
    for record in records:
        if record.type == "ok" and "gone" in record.data:
            gone[str(record.data["gone"])] = record.t
        elif record.op == "staging":
            knobs = FoldSettings.of(record.data.get("knobs", {}))
            wait_s = knobs.remediation_interval_s + SLACK_S
        elif (record.type, record.op) == ("state", OP):
            due = {key for key, t in gone.items() if record.t - max(t, calm_since) >= wait_s}
            looked += len(due & set(record.data["asked"]))
            for place in ("cache", "store"):
                left = sorted(due & set(record.data[place]))
                if left:
                    bad.append(f"{record.node} has {', '.join(left[:3])} in its {place}")
                    where.append(record.seq)
        elif _disturbs(record):
            calm_since = record.t
    if bad:
        return Finding(CheckOutcome.FAIL, "; ".join(bad[:5]), tuple(where))
    if not looked:
        return Finding(CheckOutcome.UNKNOWN, "no key was given up long enough before the end")
    return Finding(CheckOutcome.PASS, f"{looked} looks for keys that were given up found none")


def _disturbs(record: Record) -> bool:
    if record.type == "note":
        return record.op in _DISTURBS
    return record.type in ("fault", "heal") or (record.type, record.op) == ("state", "node")
