"""Two trees are compared by what their plays ended with."""

from __future__ import annotations

import pytest

from tests.differential.__main__ import HERE, Outcomes, compare, differences, summary
from tests.differential.play import Outcome, draw, play_schedules


def outcomes(*found: Outcome) -> Outcomes:
    return {(one.part, one.name): one for one in found}


def cell(letter: str, name: str = "S00 F1 E2", trace: str = "") -> Outcome:
    return Outcome(part="matrix", name=name, seen={"letter": letter}, trace=trace)


def test_a_letter_that_is_another_is_named() -> None:
    assert differences(outcomes(cell("A")), outcomes(cell("A"))) == []
    assert differences(outcomes(cell("A")), outcomes(cell("B"))) == [
        "matrix S00 F1 E2: letter A -> B"
    ]


def test_a_play_that_only_one_tree_has_is_a_difference() -> None:
    both, one = outcomes(cell("A"), cell("A", "X01")), outcomes(cell("A"))
    assert differences(both, one) == ["matrix X01: not in the new tree"]
    assert differences(one, both) == ["matrix X01: only in the new tree"]


def test_a_trace_may_be_another_and_is_counted() -> None:
    old, new = outcomes(cell("A", trace="1")), outcomes(cell("A", trace="2"))
    assert differences(old, new) == []
    assert summary(old, new) == ["matrix: 1 compared, 0 of 1 with the same trace, 0 raised"]


@pytest.mark.sim
@pytest.mark.slow
def test_a_schedule_ends_with_its_verdict_and_the_state_of_the_lab() -> None:
    schedules = list(draw(1, 3))
    [first], [second] = play_schedules(schedules), play_schedules(schedules)
    assert first == second and "raised" not in first.seen
    assert {"verdict", "vm-01", "esxi-001"} <= first.seen.keys()
    assert first.seen["vm-01"].startswith("powered"), first.seen


@pytest.mark.sim
@pytest.mark.slow
def test_this_tree_ends_as_itself() -> None:
    lines = compare(HERE, 2, 0, ("schedules",))
    assert lines == ["schedules: 2 compared, 2 of 2 with the same trace, 0 raised", "0 differences"]
