"""Tolerances: each comparison on both sides of its bound and on it, in every unit."""

from __future__ import annotations

import math

import pytest
from pydantic_core import PydanticCustomError

from chaos.hypotheses.probes import Unit, tolerance

BELOW, ON, ABOVE = 0.4, 0.5, 0.6
HOLDS = {
    ">=": (False, True, True),
    "<=": (True, True, False),
    "==": (False, True, False),
    "!=": (True, False, True),
    ">": (False, False, True),
    "<": (True, False, False),
}
"""What each comparison says of a value below, on and above its limit."""


@pytest.mark.parametrize("compare", HOLDS)
@pytest.mark.parametrize("written", ["0.5", "50%", "500ms", "0.5s"])
def test_each_comparison_on_both_sides_of_its_bound(compare: str, written: str) -> None:
    made = tolerance(f"{compare} {written}")
    assert tuple(made.holds(value) for value in (BELOW, ON, ABOVE)) == HOLDS[compare]


@pytest.mark.parametrize("compare", HOLDS)
def test_what_could_not_be_measured_is_within_nothing(compare: str) -> None:
    assert not tolerance(f"{compare} 0.5").holds(math.nan)


@pytest.mark.parametrize("compare", HOLDS)
def test_what_never_came_to_an_end_is_over_every_bound(compare: str) -> None:
    """``vm.back_within`` is infinite while a VM does not run."""
    assert tolerance(f"{compare} 60s").holds(math.inf) is HOLDS[compare][2]


def test_a_value_next_to_the_bound_is_not_on_it() -> None:
    """A share of 9,999 in 10,000 is not all of them; what floats make of 0.1 + 0.2 is 0.3."""
    assert not tolerance("== 100%").holds(0.9999)
    assert not tolerance(">= 1").holds(0.9999)
    assert not tolerance("<= 3").holds(3.001)
    assert tolerance("== 0.3").holds(0.1 + 0.2)
    assert tolerance("== 0").holds(1e-12) and not tolerance("== 0").holds(1e-6)
    assert not tolerance("< 0.3").holds(0.1 + 0.2)
    assert not tolerance("> 0.3").holds(0.1 + 0.2)
    assert not tolerance("< 0.3").holds(0.3 - 1e-12)


@pytest.mark.parametrize(
    ("written", "limit"),
    [("<= 250ms", 0.25), ("<= 90s", 90.0), ("<= 2m", 120.0), ("<= 1.5h", 5400.0), ("<= 5%", 0.05)],
)
def test_a_suffix_scales_the_limit(written: str, limit: float) -> None:
    assert tolerance(written).limit == pytest.approx(limit)


NO_RATIO = "this probe measures ratio; give a ratio between 0 and 1, or 0% and 100%"


@pytest.mark.parametrize(
    ("written", "unit", "wrong"),
    [
        ("< 5ms", Unit.SECONDS, ""),
        ("< 5s", Unit.SECONDS, ""),
        ("< 5m", Unit.SECONDS, ""),
        ("< 5h", Unit.SECONDS, ""),
        ("< 5", Unit.SECONDS, "'< 5': this probe measures seconds; give a time such as 60s"),
        ("< 5%", Unit.SECONDS, "'< 5%': this probe measures seconds; give a time such as 60s"),
        (">= 1", Unit.RATIO, ""),
        (">= 100%", Unit.RATIO, ""),
        (">= 1.01", Unit.RATIO, f"'>= 1.01': {NO_RATIO}"),
        (">= 101%", Unit.RATIO, f"'>= 101%': {NO_RATIO}"),
        (">= 1s", Unit.RATIO, f"'>= 1s': {NO_RATIO}"),
        ("== 3", Unit.COUNT, ""),
        (" ==3 ", Unit.COUNT, ""),
        (" ==3s ", Unit.COUNT, "'==3s': this probe measures count; give a number"),
        ("== 3%", Unit.COUNT, "'== 3%': this probe measures count; give a number"),
    ],
)
def test_a_tolerance_fits_what_its_probe_measures(written: str, unit: Unit, wrong: str) -> None:
    assert tolerance(written).fits(unit) == wrong


@pytest.mark.parametrize("value", ["1", "=> 1", ">= ", ">= -1", ">= 1 d", 1, None, {"count": 1}])
def test_what_says_no_tolerance_is_refused(value: object) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        tolerance(value)
    assert (caught.value.type, str(caught.value)) == (
        "no_tolerance",
        'no tolerance: write ">= 1", "== 0", "< 250ms" or {ratio: ">= 1"}',
    )


def test_a_ratio_may_be_written_as_a_map_and_one_that_is_read_already_stays() -> None:
    made = tolerance({"ratio": ">= 90%"})
    assert made.holds(0.9) and not made.holds(0.89)
    assert tolerance(made) is made
