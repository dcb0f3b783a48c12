"""Around a violation: the records beside it, and the faults that were active then."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.checks.result import AROUND, CheckOutcome, CheckResult, Scene, faults_at, scene_of
from chaos.history import Record


def record(seq: int, type: str, op: str = "", **data: Any) -> Record:
    return Record(seq=seq, t=float(seq), node="n", type=type, op=op, data=data)


def history(*special: Record, length: int = 60) -> list[Record]:
    at = {found.seq: found for found in special}
    return [at.get(seq) or record(seq, "note") for seq in range(1, length + 1)]


def failed(*seqs: int, result: CheckOutcome = CheckOutcome.FAIL) -> CheckResult:
    return CheckResult(name="c", result=result, text="", records=seqs)


CUT = record(5, "fault", "link.cut", id="wan", summary="cut a <-> b")
DARK = record(8, "fault", "host.power_loss", id="dark")
BAD = record(9, "fault", "tpm.clear", id="clear", error="KS-CHAOS-101")
HEALED = record(20, "heal", "heal", id="wan", verified=True)
SEEN = record(22, "heal", "heal", id="dark", verified=False)


@pytest.mark.parametrize(
    ("seq", "faults"),
    [
        (5, ()),
        (6, ("cut a <-> b",)),
        (20, ("cut a <-> b", "dark: host.power_loss")),
        (21, ("dark: host.power_loss",)),
        (60, ("dark: host.power_loss",)),
    ],
)
def test_a_fault_is_active_from_its_begin_until_it_was_seen_gone(
    seq: int, faults: tuple[str, ...]
) -> None:
    assert faults_at(history(CUT, DARK, BAD, HEALED, SEEN), seq) == faults


@pytest.mark.parametrize(("seq", "faults"), [(5, ()), (9, ("cut a <-> b",))])
def test_a_fault_is_active_before_it_was_seen_to_bite(seq: int, faults: tuple[str, ...]) -> None:
    late = record(40, "fault", "link.cut", id="wan", summary="cut a <-> b", began=5.2)
    assert faults_at(history(late), seq) == faults


@pytest.mark.parametrize(("first", "begin", "end"), [(1, 1, 11), (30, 20, 40), (60, 50, 60)])
def test_the_first_record_that_shows_it_stands_in_the_middle(
    first: int, begin: int, end: int
) -> None:
    found = scene_of(failed(first, 60), history())
    assert found is not None
    assert found.first == first
    assert [r.seq for r in found.records] == list(range(begin, end + 1))
    assert len(found.records) <= 2 * AROUND + 1


def test_what_did_not_fail_or_names_no_record_has_no_scene() -> None:
    assert scene_of(failed(3, result=CheckOutcome.PASS), history()) is None
    assert scene_of(failed(3, result=CheckOutcome.UNKNOWN), history()) is None
    assert scene_of(failed(), history()) is None
    assert scene_of(failed(99), history()) is None
    assert isinstance(scene_of(failed(99, 3), history()), Scene)
