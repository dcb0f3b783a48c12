"""Offline checks: pure functions of a history, three-valued, re-runnable on a stored run.

One file per check, one line in ``CHECKS``. A check that had nothing to look at is ``unknown``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from chaos.checks.accepted_order_kept import accepted_order_kept
from chaos.checks.acked_key_recoverable import acked_key_recoverable
from chaos.checks.acked_vm_known import acked_vm_known
from chaos.checks.guests_read_back import guests_read_back
from chaos.checks.needs_no_kms import needs_no_kms
from chaos.checks.no_fault_left import no_fault_left
from chaos.checks.no_internal_error import no_internal_error
from chaos.checks.result import CheckResult, Finding
from chaos.history import Record

Check = Callable[[Sequence[Record]], Finding]

CHECKS: Final[dict[str, Check]] = {
    "no_internal_error": no_internal_error,
    "no_fault_left": no_fault_left,
    "acked_key_recoverable": acked_key_recoverable,
    "acked_vm_known": acked_vm_known,
    "accepted_order_kept": accepted_order_kept,
    "guests_read_back": guests_read_back,
    "needs_no_kms": needs_no_kms,
}
ALWAYS: Final = (
    "no_internal_error",
    "no_fault_left",
    "acked_key_recoverable",
    "acked_vm_known",
    "accepted_order_kept",
    "guests_read_back",
)
"""Safety, judged in every run. The others are for files to add."""
OPTIONAL_WITNESS: Final = frozenset(
    {"acked_key_recoverable", "acked_vm_known", "accepted_order_kept", "guests_read_back"}
)
"""Of these, ``unknown`` in a run that never tried it does not make the run unknown."""


def judge(names: Sequence[str], records: Sequence[Record]) -> tuple[CheckResult, ...]:
    """The result of each check in ``names`` over the records, in that order.

    ``KeyError`` for a name that is no check.
    """
    results = []
    for name in names:
        found = CHECKS[name](records)
        results.append(
            CheckResult(name=name, result=found.result, text=found.text, records=found.records)
        )
    return tuple(results)
