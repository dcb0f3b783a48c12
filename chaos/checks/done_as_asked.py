"""A task that was answered did what it was asked to: what an operation has for itself (a VM, a key
provider, an object on vSAN) is what it must be after each task, a console prints what is there, and
what must be refused is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chaos.checks.result import CheckOutcome, Finding
from chaos.history import Record

_COMPARE: Final = ("vm.live", "host.console", "vsan.live", "keyprovider.live")


def done_as_asked(records: Sequence[Record]) -> Finding:
    """Pass when no such operation saw something that is not as it must be (``wrong``).
    Unknown when none came to its end."""
    ended = [record for record in records if record.type == "ok" and record.op in _COMPARE]
    wrong = [record for record in ended if "wrong" in record.data]
    if wrong:
        told = "; ".join(f"{record.data['wrong']} (at {record.t:g} s)" for record in wrong[:5])
        return Finding(CheckOutcome.FAIL, told, tuple(record.seq for record in wrong))
    if not ended:
        return Finding(CheckOutcome.UNKNOWN, "no operation compared what it saw to its end")
    return Finding(CheckOutcome.PASS, f"{len(ended)} operations saw what they must see")
