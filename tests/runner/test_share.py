"""Which slow tests a commit plays."""

from __future__ import annotations

from tests.runner.share import choose_share

TESTS = [f"a.py::test_{n}[{m}]" for n in range(20) for m in "xy"]


def share(key: str, seconds: float = 10.0) -> set[str]:
    return choose_share(TESTS, seconds, lambda test: 1.0, key)


def test_no_more_than_fits_is_chosen() -> None:
    assert len(share("k")) == 10
    assert share("k", 1.5) == set(), "no function of two seconds fits"
    assert share("k", 1000.0) == set(TESTS)


def test_the_tests_of_a_function_stay_together() -> None:
    functions = [test.partition("[")[0] for test in share("k")]
    assert all(functions.count(name) == 2 for name in functions)


def test_another_commit_plays_others_and_each_has_its_turn() -> None:
    assert share("k") == share("k") != share("other")
    assert set().union(*(share(str(n)) for n in range(30))) == set(TESTS)


def test_a_function_that_does_not_fit_keeps_no_other_one_out() -> None:
    expected = {"long": 100.0, "short": 1.0}
    assert choose_share(expected, 5.0, expected.__getitem__, "k") == {"short"}
