"""``works_in_quiet``: each clause has a history that violates it, and one that is excused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from chaos.checks import CHECKS
from chaos.checks.result import CheckOutcome, Finding
from chaos.checks.works_in_quiet import AFTER_S, QUICK_S
from chaos.history import Record

Row = tuple[float, str, str, str, dict[str, Any]]
"""Seconds, node, type, op and data of a record."""

SIM: Row = (0.0, "", "note", "plan", {"mode": "sim"})
LAB: Row = (0.0, "", "note", "plan", {"mode": "lab"})
BEGINS: Row = (5.0, "", "note", "inject", {"id": "cut"})
CUT: Row = (6.0, "", "fault", "link.cut", {"id": "cut"})
HEALED: Row = (9.0, "", "heal", "heal", {"id": "cut", "verified": True})
STAYS: Row = (9.0, "", "heal", "heal", {"id": "cut", "stays": True})
LOOKED: Row = (9.5, "", "state", "look", {})


def staged(*types: str) -> Row:
    found = [{"name": type, "type": type} for type in types]
    return (0.0, "", "state", "staging", {"providers": found})


TRUSTED, STANDARD = staged("trustAuthority"), staged("vCenter")
BOTH = staged("trustAuthority", "vCenter")
SWAPPED: Row = (6.0, "", "fault", "tpm.swap", {"id": "cut"})


def done(
    at: float, kind: str, op: str = "vm.migrate", *, n: int = 1, took: float = 1.0, **data: Any
) -> tuple[Row, Row]:
    """An operation that began then."""
    return (at, "vm-01", "invoke", op, {"n": n}), (at + took, "vm-01", kind, op, {"n": n, **data})


def clusters(**hosts: str) -> Row:
    """The lab has these hosts, each in a cluster."""
    return (0.0, "", "state", "staging", {"providers": [], "clusters": hosts})


def overlapping(kind: str, other: str, ended: str) -> tuple[Row, ...]:
    """A migration that ends so while another operation on its VM is under way."""
    begins, ends = done(1.0, ended, other, n=2, took=5.0)
    return (begins, *done(2.0, kind), ends)


def judged(rows: Sequence[Row]) -> Finding:
    return CHECKS["works_in_quiet"].judge(
        [
            Record(seq=n, t=t, node=node, type=type, op=op, data=data)
            for n, (t, node, type, op, data) in enumerate(rows, 1)
        ]
    )


PERSIST = "esx.persistence.off_on"
TAKES: Row = (2.5, "vm-01", "invoke", "kms.key.destroy", {"n": 9, "action": "gone"})
LATE = HEALED[0] + AFTER_S
NO_KEYS: dict[str, Any] = {"error": "NotAvailable"}
FAILED = done(1.0, "fail", error="NotFound")
OFF, ON = ((0.5, "vm-01", "state", "vm", {"power": power}) for power in ("poweredOff", "poweredOn"))
OFF_OTHER: Row = (0.5, "vm-02", *OFF[2:])
PASSES: dict[str, tuple[Row, ...]] = {
    "it succeeds": (SIM, *done(1.0, "ok")),
    "it succeeds a minute after a fault": (SIM, BEGINS, CUT, HEALED, *done(LATE, "ok")),
    "nothing to restart": (
        SIM,
        *done(1.0, "fail", "vm.restart", error="its host is connected"),
    ),
    "keys are removed already": (
        SIM,
        *done(
            1.0,
            "fail",
            "esx.persistence.off_on",
            error="the host has no stored keys already",
        ),
    ),
    "no key is made of a trusted provider": (
        SIM,
        TRUSTED,
        *done(1.0, "fail", "key.create", **NO_KEYS),
    ),
    "vCenter is too old to make native keys": (
        SIM,
        *done(
            1.0,
            "info",
            "key.create",
            error="GenerateKey for native key providers: not supported by vcenter",
        ),
    ),
    "there is no other host": (
        SIM,
        clusters(one="a"),
        *done(1.0, "fail", "vm.move", error="NotFound"),
        *done(3.0, "fail", n=2, error="NotFound"),
    ),
    "keys are not persisted without a TPM": (
        SIM,
        (0.0, "esxi-001", "state", "protection", {"sealed": False}),
        *done(1.0, "info", PERSIST, error="InvalidState", host="esxi-001"),
    ),
    "just in time": (SIM, *done(1.0, "ok", took=QUICK_S)),
    "a real lab may be slow": (LAB, *done(1.0, "ok", took=QUICK_S + 1.0)),
}
FAILS: dict[str, tuple[Row, ...]] = {
    "it is refused": (SIM, *done(1.0, "fail", error="NotFound")),
    "nobody knows": (SIM, *done(1.0, "info", error="Timeout")),
    "a minute after a fault": (SIM, BEGINS, CUT, HEALED, *done(LATE, "fail", error="NotFound")),
    "it is excused of another operation": (
        SIM,
        *done(1.0, "fail", error="its host is connected"),
    ),
    "it has another error": (SIM, *done(1.0, "fail", "vm.restart", error="NotFound")),
    "no key is made of a standard provider": (
        SIM,
        STANDARD,
        *done(1.0, "fail", "key.create", **NO_KEYS),
    ),
    "no key is made of one of several providers": (
        SIM,
        staged("trustAuthority", "vCenter"),
        *done(1.0, "fail", "key.create", **NO_KEYS),
    ),
    "no key is made, and no provider was named": (
        SIM,
        *done(1.0, "fail", "key.create", **NO_KEYS),
    ),
    "a trusted provider does not excuse others": (SIM, TRUSTED, *done(1.0, "fail", **NO_KEYS)),
    "it is late": (SIM, *done(1.0, "ok", took=QUICK_S + 0.1)),
    "it was seen off, and on again": (SIM, OFF, ON, *FAILED),
    "another VM is off": (SIM, OFF_OTHER, *FAILED),
    "nobody asks for the new TPM": (SIM, STANDARD, SWAPPED, HEALED, *done(LATE, "fail")),
    "a host was away from its Trust Authority": (SIM, TRUSTED, CUT, HEALED, *done(LATE, "fail")),
    "an operation was refused before": (
        SIM,
        BEGINS,
        *done(6.0, "fail"),
        CUT,
        HEALED,
        *done(LATE, "fail", n=2),
    ),
    "there is another host": (
        SIM,
        clusters(one="a", two="a"),
        *done(1.0, "fail", error="NotFound"),
    ),
    "another refusal where there is no other host": (
        SIM,
        clusters(one="a"),
        *done(1.0, "fail", error="InvalidState"),
    ),
    "another operation where there is no other host": (
        SIM,
        clusters(one="a"),
        *done(1.0, "fail", "vm.power_cycle", error="NotFound"),
    ),
    "beside one that changes nothing": (SIM, *overlapping("fail", "guest.challenge", "ok")),
    "after another one": (SIM, *done(1.0, "ok"), *done(2.5, "fail", n=2)),
    "beside one on another VM": (
        SIM,
        (1.0, "vm-02", "invoke", "vm.move", {"n": 7}),
        *done(1.5, "fail"),
        (4.0, "vm-02", "ok", "vm.move", {"n": 7}),
    ),
    "keys are not persisted with a TPM": (
        SIM,
        (0.0, "esxi-001", "state", "protection", {"sealed": True}),
        (0.0, "esxi-002", "state", "protection", {"sealed": False}),
        *done(1.0, "info", PERSIST, error="InvalidState", host="esxi-001"),
    ),
    "another refusal without a TPM": (
        SIM,
        (0.0, "esxi-001", "state", "protection", {"sealed": False}),
        *done(1.0, "info", PERSIST, error="Busy", host="esxi-001"),
    ),
    "a fault begins a while later": (SIM, *done(1.0, "fail"), BEGINS),
    "an administrator comes later": (SIM, *done(1.0, "fail"), TAKES),
    "one of two": (SIM, *done(1.0, "ok"), *done(3.0, "fail", n=2, error="NotFound")),
}
UNKNOWN: dict[str, tuple[Row, ...]] = {
    "there is no operation": (SIM, LOOKED),
    "a fault is being made": (SIM, BEGINS, *done(5.5, "fail")),
    "a fault is there": (SIM, CUT, *done(LATE, "fail")),
    "a fault is there for good": (SIM, CUT, STAYS, *done(LATE, "fail")),
    "a fault is hardly over": (SIM, CUT, HEALED, *done(LATE - 0.1, "fail")),
    "a fault begins in the middle": (
        SIM,
        (1.0, "vm-01", "invoke", "vm.migrate", {"n": 1}),
        BEGINS,
        (7.0, "vm-01", "fail", "vm.migrate", {"n": 1}),
    ),
    "an administrator took a key": (SIM, (0.5, *TAKES[1:]), *done(LATE, "fail")),
    "a fault begins at its end": (SIM, *done(3.5, "fail"), BEGINS),
    "another one changes the VM": (SIM, *overlapping("fail", "vm.move", "info")),
    "a change begins in the middle": (
        SIM,
        (0.5, "vm-01", "invoke", "guest.challenge", {"n": 1}),
        (1.0, "vm-01", "invoke", "vm.move", {"n": 2}),
        (1.5, "vm-01", "fail", "guest.challenge", {"n": 1}),
        BEGINS,
    ),
    "it is off": (SIM, OFF, *FAILED),
    "an operation may have left it anywhere": (
        SIM,
        BEGINS,
        *done(6.0, "info", "vm.move"),
        CUT,
        HEALED,
        *done(LATE, "fail", n=2),
    ),
    "it was restarted elsewhere": (
        SIM,
        BEGINS,
        *done(6.0, "ok", "vm.restart"),
        CUT,
        HEALED,
        *done(LATE, "fail", n=2),
    ),
    "a load": (SIM, (0.5, "", "note", "load", {}), *FAILED),
    "a Trust Authority does not know the new TPM": (
        SIM,
        BOTH,
        SWAPPED,
        HEALED,
        *done(LATE, "fail"),
    ),
    "a look at the end": (SIM, (1.0, "vm-01", "fail", "guest.challenge", {"n": 0})),
}


@pytest.mark.parametrize(
    ("expected", "rows"),
    [
        pytest.param(outcome, rows, id=name)
        for outcome, cases in (
            (CheckOutcome.PASS, PASSES),
            (CheckOutcome.FAIL, FAILS),
            (CheckOutcome.UNKNOWN, UNKNOWN),
        )
        for name, rows in cases.items()
    ],
)
def test_what_it_says(expected: CheckOutcome, rows: Sequence[Row]) -> None:
    assert judged(rows).result is expected


def test_it_names_the_operation_and_the_record() -> None:
    found = judged((SIM, *done(1.0, "fail", error="NotFound")))
    assert found.text == "without any fault vm.migrate vm-01 ended fail: NotFound"
    assert found.records == (3,)


def test_it_names_how_long_one_took() -> None:
    found = judged((SIM, *done(1.0, "ok", "key.create", took=25.0)))
    assert found.text == "without any fault key.create vm-01 took 25.0 s"
