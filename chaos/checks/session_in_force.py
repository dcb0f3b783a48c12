"""A host obeys one session of vCenter: it refuses commands of an ended session, however late they
arrive."""

from __future__ import annotations

from collections.abc import Sequence

from chaos.checks.result import CheckOutcome, Finding
from chaos.history import Record
from chaos.observe.sessions import OBEYED, OPENED


def session_in_force(records: Sequence[Record]) -> Finding:
    """Pass when no host executed a command of an ended session. Unknown when none was opened.

    Only a simulation records its bus in this detail.
    """
    opened = [r for r in records if r.type == "state" and r.op == OPENED]
    bad = [r for r in records if r.type == "state" and r.op == OBEYED]
    if bad:
        told = (f"{r.node} did {r.data['command']} of {r.data['session']}" for r in bad[:5])
        return Finding(CheckOutcome.FAIL, "; ".join(told), tuple(r.seq for r in bad))
    if not opened:
        return Finding(CheckOutcome.UNKNOWN, "no session was opened in this run")
    return Finding(CheckOutcome.PASS, f"{len(opened)} sessions, each obeyed until the next one")
