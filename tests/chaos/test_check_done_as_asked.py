"""``done_as_asked``: what an operation with a VM of its own saw is told."""

from __future__ import annotations

from chaos.checks import CHECKS
from chaos.checks.result import CheckOutcome, Finding
from chaos.history import Record


def judged(*ended: tuple[str, str, dict[str, str]]) -> Finding:
    """Of operations by type, name and data."""
    return CHECKS["done_as_asked"].judge(
        [
            Record(seq=n, t=float(n), node="vm-01", type=type, op=op, data=dict(data))
            for n, (type, op, data) in enumerate(ended, 1)
        ]
    )


GOOD = ("ok", "vm.live", dict[str, str]())
WRONG = ("ok", "vm.live", {"wrong": "no disk"})


def test_a_vm_that_is_not_as_it_must_be_fails() -> None:
    found = judged(GOOD, WRONG)
    assert found == Finding(CheckOutcome.FAIL, "no disk (at 2 s)", (2,))


def test_each_as_it_must_be_passes() -> None:
    assert judged(GOOD, GOOD).result is CheckOutcome.PASS


def test_nothing_is_said_of_others() -> None:
    """Of guests, and of one that was interrupted."""
    guest = ("ok", "guest.challenge", {"wrong": "block 3"})
    interrupted = ("info", "vm.live", {"wrong": "no disk"})
    assert judged(guest, interrupted).result is CheckOutcome.UNKNOWN
