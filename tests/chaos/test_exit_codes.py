"""Which exit code a run has: that of the worst that came of it."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.checks import OPTIONAL_WITNESS
from chaos.checks.result import CheckOutcome, CheckResult
from chaos.verdict import Exit, exit_of


def check(name: str, result: CheckOutcome) -> CheckResult:
    return CheckResult(name=name, result=result, text="")


GOOD, BAD = check("a", CheckOutcome.PASS), check("a", CheckOutcome.FAIL)
BLIND, SHY = check("a", CheckOutcome.UNKNOWN), check("guests_read_back", CheckOutcome.UNKNOWN)


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({}, Exit.PASS),
        ({"judged": [GOOD, SHY]}, Exit.PASS),
        ({"judged": [BLIND]}, Exit.UNKNOWN),
        ({"recovery": [BAD]}, Exit.NOT_RECOVERED),
        ({"judged": [BAD, BLIND], "recovery": [BAD]}, Exit.FAILED),
        ({"judged": [BAD], "steady": False}, Exit.NOT_STEADY),
        ({"judged": [BAD], "harness": ["KS-CHAOS-101"]}, Exit.HARNESS),
        ({"harness": ["x"], "interrupted": True}, Exit.INTERRUPTED),
    ],
)
def test_the_worst_class_wins(values: dict[str, Any], code: Exit) -> None:
    all_: dict[str, Any] = {
        "interrupted": False,
        "harness": [],
        "steady": True,
        "judged": [GOOD],
        "recovery": [],
        "excused": OPTIONAL_WITNESS,
    }
    assert exit_of(**(all_ | values)) is code
