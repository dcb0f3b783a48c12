"""Histories that have an order, and neighbours that have none, with the words for these."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.history import Record
from tests.linear.judge import Judged, judge

A, B = "kms-1", "kms-2"
GONE = "Deactivated"
Line = tuple[float, str, str, str, dict[str, Any]]


def history(*lines: Line, mode: str = "sync-pair", active: str = "") -> list[Record]:
    """Records of ``lines``: time, node, type, op, data."""
    group = {"servers": [A, B], "mode": mode, "settle_s": 10.0, "active": active}
    rows: list[Line] = [(0.0, "", "state", "kms.servers", group), *lines]
    rows.sort(key=lambda row: row[0])
    return [
        Record(seq=seq, t=t, node=node, type=type, op=op, data=data)
        for seq, (t, node, type, op, data) in enumerate(rows, start=1)
    ]


_numbers = iter(range(1, 10_000))


def op(
    name: str, server: str, begin: float, end: float, how: str = "ok", /, **data: Any
) -> list[Line]:
    """One operation; what is asked and what is answered are told apart by their names."""
    n, asked = next(_numbers), {"name", "after", "activate"}
    if name not in ("create", "register"):
        asked.add("uid")
    said = {key: value for key, value in data.items() if key in asked}
    answer = {key: value for key, value in data.items() if key not in asked}
    return [
        (begin, server, "invoke", f"kms.{name}", {"n": n, **said}),
        (end, server, how, f"kms.{name}", {"n": n, **answer}),
    ]


def made(server: str = A, at: float = 1.0, uid: str = "k") -> list[Line]:
    return op("create", server, at, at + 0.5, activate=True, uid=uid, state="Active", value=1)


def got(server: str, at: float, state: str, value: int = 1) -> list[Line]:
    return op("get", server, at, at + 0.1, uid="k", state=state, value=value)


def revoked(server: str, at: float, how: str = "ok") -> list[Line]:
    answer = {"state": "Deactivated"} if how == "ok" else {"error": "TimedOut"}
    return op("revoke", server, at, at + 0.5, how, uid="k", **answer)


def apart(begin: float, end: float, *nodes: str) -> list[Line]:
    return [
        (begin, "", "fault", "link.cut", {"id": "cut", "nodes": list(nodes)}),
        (end, "", "heal", "heal", {"id": "cut", "verified": True}),
    ]


def settled(since: float, at: float) -> list[Line]:
    return [(at, "", "state", "kms.settled", {"servers": [A, B], "since": since})]


def refused(name: str, server: str, at: float, error: str, /, **data: Any) -> list[Line]:
    return op(name, server, at, at + 0.1, "fail", error=error, **data)


ORDERED: dict[str, tuple[list[list[Line]], str, str]] = {
    "both have what was answered": ([made(), got(A, 2, "Active"), got(B, 2, "Active")], "", ""),
    "while it is asked for, either may be": (
        [made(), revoked(A, 2), got(B, 2.1, "Deactivated"), got(A, 2.2, "Active")],
        *("", ""),
    ),
    "nobody knows, so either may be": (
        [made(), revoked(A, 2, "info"), got(A, 3, "Active"), got(A, 4, "Deactivated")],
        *("", ""),
    ),
    "apart, the other has it later": (
        [made(), apart(1.8, 3, A, B), revoked(A, 2), got(B, 12, "Active"), got(A, 2.6, GONE)],
        *("", ""),
    ),
    "a server that was down has it later": (
        [made(), apart(1.8, 3, B), revoked(A, 2), got(B, 12, "Active")],
        *("", ""),
    ),
    "async: later": ([made(), got(B, 3, "", 0), got(B, 4, "Active")], "async", ""),
    "async: they were asked before it was answered": (
        [made(), settled(1.4, 2), got(B, 3, "", 0)],
        *("async", ""),
    ),
    "forward: later where it was asked for": ([made(B), got(B, 3, "", 0)], "forward", A),
    "refused as its state demands": (
        [made(), refused("destroy", A, 2, "WrongKeyLifecycleState", uid="k")],
        *("", ""),
    ),
    "a Name is free again": (
        [
            op("register", A, 1, 2, name="x", uid="k", state="Pre-Active", value=1),
            op("destroy", A, 3, 4, uid="k", state="Destroyed"),
            op("register", B, 5, 6, name="x", uid="l", state="Pre-Active", value=2),
            op("locate", A, 7, 8, name="x", uids=["k", "l"]),
        ],
        *("", ""),
    ),
    "a KEK was rotated, answered or not": (
        [
            op("rotate_kek", A, 1, 2, "info", after=1, error="TimedOut"),
            op("custody", A, 3, 4, kek=2),
            op("rotate_kek", A, 5, 6, after=2, kek=3),
            op("custody", B, 5, 6, kek=1),
        ],
        *("", ""),
    ),
}

BROKEN: dict[str, tuple[list[list[Line]], str, str, str]] = {
    "a stale read": (
        [made(), revoked(A, 2), got(A, 3, "Active")],
        *("", ""),
        "key k at kms-1: no order explains what clients saw: "
        "create at kms-1, 1.000000 s to 1.500000 s: uid k, state Active, value 1; "
        "revoke at kms-1, 2.000000 s to 2.500000 s: state Deactivated; "
        "get at kms-1, 3.000000 s to 3.100000 s: state Active, value 1. With all before it in "
        "order, this does not fit: get at kms-1, 3.000000 s to 3.100000 s: state Active, value 1",
    ),
    "a lost write": (
        [made(), got(B, 2, "", 0)],
        *("", ""),
        "this does not fit: get at kms-2, 2.000000 s to 2.100000 s: state , value 0",
    ),
    "a lost write that a refusal shows": (
        [made(), refused("revoke", B, 2, "ItemNotFound", uid="k")],
        *("", ""),
        "revoke at kms-2, 2.000000 s to 2.100000 s: refused: ItemNotFound",
    ),
    "back and forth": (
        [made(), revoked(A, 2, "info"), got(A, 3, "Deactivated"), got(A, 4, "Active")],
        *("", ""),
        "revoke at kms-1, 2.000000 s: nobody knows",
    ),
    "not even after it has settled": (
        [made(), apart(1.8, 3, A, B), revoked(A, 2), got(B, 13.1, "Active")],
        *("", ""),
        "state Deactivated (at kms-2 by 13.000000 s)",
    ),
    "async: at once where it was asked for": (
        [made(), got(A, 2, "", 0)],
        *("async", "", "key k at kms-1"),
    ),
    "async: after both have said that they have it": (
        [made(), settled(1.6, 2), got(B, 2.1, "", 0)],
        *("async", "", "(at kms-2 by 2.000000 s)"),
    ),
    "async: for ever": ([made(), got(B, 12, "", 0)], "async", "", "key k at kms-2"),
    "forward: at once at the active one": (
        [made(B), got(A, 2, "", 0)],
        *("forward", A, "key k at kms-1"),
    ),
    "never made": ([got(A, 2, "Active")], "", "", "key k at kms-1"),
    "another value": ([made(), got(A, 2, "Active", 2)], "", "", "value 2"),
    "a destroyed key is given": (
        [
            *(made(), revoked(A, 2), op("destroy", A, 3, 4, uid="k", state="Destroyed")),
            got(A, 5, "Destroyed"),
        ],
        *("", "", "state Destroyed, value 1"),
    ),
    "refused for a state that it was not in": (
        [made(), refused("revoke", A, 2, "WrongKeyLifecycleState", uid="k")],
        *("", "", "refused: WrongKeyLifecycleState"),
    ),
    "a Name for two": (
        [
            op("register", A, 1, 2, name="x", uid="k", state="Pre-Active", value=1),
            op("register", B, 3, 4, name="x", uid="l", state="Pre-Active", value=2),
        ],
        *("", "", "Name x at kms-"),
    ),
    "a Name refused that nobody has": (
        [refused("register", A, 1, "InvalidField", name="x")],
        *("", "", "Name x at kms-1"),
    ),
    "a key with a Name is not found": (
        [
            op("register", A, 1, 2, name="x", uid="k", state="Pre-Active", value=1),
            op("locate", B, 3, 4, name="x", uids=[]),
        ],
        *("", "", "Name x at kms-2"),
    ),
    "an old KEK": (
        [op("rotate_kek", A, 1, 2, after=1, kek=2), op("custody", A, 3, 4, kek=1)],
        *("", "", "the KEK at kms-1"),
    ),
}


def judged(lines: list[list[Line]], mode: str, active: str) -> Judged:
    rows = [line for some in lines for line in some]
    return judge(history(*rows, mode=mode or "sync-pair", active=active))


@pytest.mark.parametrize("case", ORDERED)
def test_there_is_an_order(case: str) -> None:
    found = judged(*ORDERED[case])
    assert (found.violations, found.undecided) == ((), ())


@pytest.mark.parametrize("case", BROKEN)
def test_there_is_none_and_the_least_history_is_told(case: str) -> None:
    *play, told = BROKEN[case]
    found = judged(*play)  # type: ignore[arg-type]
    assert found.violations
    assert told in found.violations[0].text
    assert found.violations[0].records


def test_reads_without_which_it_is_wrong_too_are_not_told() -> None:
    lines = [made(), *[got(A, 1.6 + n / 100, "Active") for n in range(20)], revoked(A, 2)]
    [violation] = judged([*lines, got(A, 3, "Active"), got(A, 4, "Active")], "", "").violations
    assert violation.text.count("get at kms-1, 3.0") == 2
    assert "get at kms-1, 1." not in violation.text and "get at kms-1, 4" not in violation.text


def test_a_search_that_comes_to_its_bound_is_counted() -> None:
    lines = [made(), *[revoked(A, 2, "info") for _ in range(12)], got(A, 3, "Deactivated")]
    rows = [line for some in lines for line in some]
    assert judge(history(*rows), most=2).undecided == ("key k at kms-1",)
    assert judge(history(*rows)).undecided == ()
