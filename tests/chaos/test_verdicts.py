"""What a verdict says of a run: why it ended so, and what lay under its hosts."""

from __future__ import annotations

import pytest

from chaos.checks.result import CheckOutcome, CheckResult
from chaos.verdict import REQUIRES, Exit, exit_of, hosts_by_tpm, reasons_of, tpm_text
from protocol.messages.agent import TpmBackend
from protocol.terms import NodeName


def check(name: str, result: CheckOutcome, text: str = "") -> CheckResult:
    return CheckResult(name=name, result=result, text=text or f"{name} is {result.value}")


GOOD = check("good", CheckOutcome.PASS)
BAD, WORSE = check("bad", CheckOutcome.FAIL), check("worse", CheckOutcome.FAIL)
BLIND = check("blind", CheckOutcome.UNKNOWN)
MISFIT = check(REQUIRES, CheckOutcome.FAIL)


@pytest.mark.parametrize(
    ("code", "results", "reasons"),
    [
        (Exit.PASS, [GOOD, BLIND], ()),
        (Exit.PASS, [BAD], ()),
        (Exit.FAILED, [GOOD, BAD, BLIND, WORSE], ("bad: bad is fail", "worse: worse is fail")),
        (Exit.UNKNOWN, [GOOD, BLIND], ("blind: blind is unknown",)),
        (Exit.UNKNOWN, [GOOD], ()),
        (Exit.NOT_RECOVERED, [BAD, MISFIT], ("bad: bad is fail", "requires: requires is fail")),
        (Exit.NOT_STEADY, [BAD, BLIND], ("KS-CHAOS-201: bad: bad is fail",)),
        (Exit.NOT_STEADY, [BLIND], ("KS-CHAOS-201: blind: blind is unknown",)),
        (Exit.NOT_STEADY, [MISFIT], ("KS-CHAOS-015: requires: requires is fail",)),
        (
            Exit.NOT_STEADY,
            [check(REQUIRES, CheckOutcome.PASS), BAD],
            ("KS-CHAOS-201: bad: bad is fail",),
        ),
    ],
)
def test_the_reasons_of_a_run(
    code: Exit, results: list[CheckResult], reasons: tuple[str, ...]
) -> None:
    assert reasons_of(code, results) == reasons


@pytest.mark.parametrize(
    ("judged", "recovery", "excused", "code"),
    [
        ([BLIND], [], ["blind"], Exit.PASS),
        ([BLIND], [], ["good"], Exit.UNKNOWN),
        ([], [BLIND], ["blind"], Exit.PASS),
        ([], [BLIND], [], Exit.UNKNOWN),
        ([BLIND, check("other", CheckOutcome.UNKNOWN)], [], ["blind"], Exit.UNKNOWN),
        ([BAD], [], ["bad"], Exit.FAILED),
        ([GOOD], [BAD, BLIND], ["bad"], Exit.NOT_RECOVERED),
        ([GOOD, BAD], [GOOD], [], Exit.FAILED),
        ([BLIND], [BAD], [], Exit.NOT_RECOVERED),
        ([], [], [], Exit.PASS),
    ],
)
def test_the_class_of_what_was_judged(
    judged: list[CheckResult], recovery: list[CheckResult], excused: list[str], code: Exit
) -> None:
    found = exit_of(
        interrupted=False,
        harness=(),
        steady=True,
        judged=judged,
        recovery=recovery,
        excused=frozenset(excused),
    )
    assert found is code


A, B, C = (NodeName(f"esxi-00{n}") for n in (1, 2, 3))
NONE, REAL, MODEL = TpmBackend.NONE, TpmBackend.LIBTPMS, TpmBackend.MODEL


def test_hosts_are_named_by_their_tpm_only_where_these_differ() -> None:
    assert hosts_by_tpm({}) == {} == hosts_by_tpm({A: REAL, B: REAL})
    found = hosts_by_tpm({C: NONE, A: REAL, B: NONE})
    assert list(found.items()) == [(REAL, (A,)), (NONE, (B, C))]
    assert len(hosts_by_tpm({A: NONE, B: REAL, C: MODEL})) == 3


def test_the_text_of_what_lies_under_the_hosts() -> None:
    assert tpm_text([REAL], {}) == "libtpms"
    assert tpm_text([REAL, NONE], {}) == "libtpms, none"
    split = {REAL: (A,), NONE: (B, C)}
    assert tpm_text([REAL, NONE], split) == "libtpms under esxi-001, none under esxi-[002-003]"
