"""Rates over time, arrivals drawn from a seed, and what is refused of both."""

from __future__ import annotations

import math

import pytest

from chaos.load.arrivals import Spread, draw, length, read_mix, read_profile
from chaos.load.histogram import histogram, value_ms
from chaos.load.planned import read_threshold


def between(rate: str, duration: str, spread: Spread, *bounds: tuple[float, float]) -> list[int]:
    """How many arrivals lie in each span."""
    profile = read_profile(rate, duration)
    at = draw(profile, {"get": 1}, askers=1, seed=3, spread=spread).at
    assert list(at) == sorted(at) and all(0 <= t < length(profile) for t in at)
    return [sum(begin <= t < end for t in at) for begin, end in bounds]


def test_even_arrivals_follow_rate_ramp_and_steps_to_one() -> None:
    assert between("100/s", "10s", Spread.EVEN, (0, 5), (5, 10)) == pytest.approx([500, 500], abs=1)
    ramp = between("100/s..300/s", "10s", Spread.EVEN, (0, 5), (5, 10))
    assert ramp == pytest.approx([750, 1250], abs=1)
    fall = between("300/s..100/s", "10s", Spread.EVEN, (0, 5), (5, 10))
    assert fall == pytest.approx([1250, 750], abs=1)
    steps = between("10/s:10s,50/s..100/s:4s,6/m:1m", "", Spread.EVEN, (0, 10), (10, 14), (14, 74))
    assert steps == pytest.approx([100, 300, 6], abs=1)


def test_even_arrivals_are_as_many_as_the_rate_says() -> None:
    assert between("100/s", "10s", Spread.EVEN, (0, 1), (9, 10), (0, 10)) == [100, 100, 1000]


def test_a_ramp_may_begin_at_nothing_and_a_step_may_be_a_pause() -> None:
    ramp = between("0/s..200/s", "10s", Spread.EVEN, (0, 5), (5, 10))
    assert ramp == pytest.approx([250, 750], abs=1)
    steps = "100/s:2s,0/s:3s,0/s..50/s:4s,50/s..0/s:2s"
    spans = ((0, 2), (2, 5), (5, 9), (9, 11))
    assert between(steps, "", Spread.EVEN, *spans) == pytest.approx([200, 0, 100, 50], abs=1)
    assert between(steps, "", Spread.POISSON, (2, 5)) == [0]


def test_a_warm_up_is_drawn_as_well_and_counts_among_the_most_that_are() -> None:
    with pytest.raises(ValueError, match=r"about 431995005 operations, its warm-up with it"):
        read_profile("5000/s", "1ms", 24 * 3600.0 - 1)
    with pytest.raises(ValueError, match=r"86401 s, its warm-up with it; at most 86400 s"):
        read_profile("1/s", "1s", 24 * 3600.0)
    assert read_profile("5000/s", "100s", 100.0)


@pytest.mark.parametrize("count", [1, 2, 7, 99, 100, 101, 1000])
def test_percentiles_are_those_of_the_nearest_rank_of_what_was_measured(count: int) -> None:
    raw = [0.001 * 1.07 ** (n * 173 % count % 150) + n * 1e-6 for n in range(count)]
    made, ordered = histogram(raw), sorted(raw)
    for percent in (50, 90, 95, 99, 99.9, 100):
        rank = math.ceil(round(percent * count / 100, 9))
        wanted = ordered[rank - 1] * 1000
        assert value_ms(made, percent) == pytest.approx(wanted, rel=0.0011), percent


def test_poisson_arrivals_have_the_rate_and_the_variance_of_it() -> None:
    [count] = between("200/s", "100s", Spread.POISSON, (0, 100))
    assert abs(count - 20_000) < 4 * 20_000**0.5
    per_second = between("200/s", "100s", Spread.POISSON, *[(n, n + 1) for n in range(100)])
    mean = sum(per_second) / 100
    variance = sum((n - mean) ** 2 for n in per_second) / 99
    assert 0.6 < variance / mean < 1.6
    even = between("200/s", "100s", Spread.EVEN, *[(n, n + 1) for n in range(100)])
    assert max(even) - min(even) <= 1


def test_operations_come_by_their_weights_and_askers_alike() -> None:
    profile = read_profile("1000/s", "10s")
    mix = read_mix("get:8,create:1,destroy:1", ("get", "create", "destroy"))
    arrivals = draw(profile, mix, askers=4, seed=3, spread=Spread.EVEN)
    counts = [list(arrivals.operation).count(n) for n in range(3)]
    assert (
        sum(counts) == len(arrivals) and abs(counts[0] - 8000) < 200 and abs(counts[1] - 1000) < 150
    )
    assert {abs(list(arrivals.who).count(n) - 2500) < 250 for n in range(4)} == {True}
    other = draw(profile, mix, askers=4, seed=4, spread=Spread.EVEN)
    assert other.at == arrivals.at and other.operation != arrivals.operation


@pytest.mark.parametrize(
    ("rate", "duration", "said"),
    [
        ("300", "1s", "no rate"),
        ("0/s", "1s", "above 0"),
        ("300/s", "", "give a duration"),
        ("300/s", "0s", "longer than 0s"),
        ("300/s", "60", "no time"),
        ("300/s:5s,100/s:5s", "10s", "a time each"),
        ("300/s:5s,100/s", "", "no time"),
        ("300/s..", "1s", "no rate"),
        ("9000/s", "1s", "at most 5000/s"),
        ("5000/s", "1h", "at most 1000000"),
        ("1/s", "40h", "at most 86400 s"),
        ("", "1s", "no rate"),
        ("0/s:1s,0/s..0/s:5s", "", "above 0"),
        ("50/s", "0.001ms", "give it longer"),
        ("1/h", "10s", "give it longer"),
    ],
)
def test_a_rate_that_cannot_be_offered_is_one_message(rate: str, duration: str, said: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_profile(rate, duration)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "text", ["put:1", "get", "get:", "get:0", "get:x", "get:1,get:2", "get:-1", ""]
)
def test_a_mix_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no operation|WEIGHT|twice"):
        read_mix(text, ("get", "create"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("put.p99 < 5ms", "names no operation of this load; there are get, all"),
        ("get.p99", "cannot be read"),
        ("get.p99 == 5ms", "cannot be read"),
        ("get.p101 < 5ms", "cannot be read"),
        ("get.p100.5 < 5ms", "cannot be read"),
        ("get.p99 < 5ms or so", "no time"),
        ("get.errors < 0%", "nothing can ever hold it"),
        ("get.errors > 100%", "nothing can ever hold it"),
        ("get.max < 0s", "nothing can ever hold it"),
        ("get.mean < 5ms", "cannot be read"),
        ("get.p99 < 5", "no time"),
        ("get.errors < 5ms", "no share"),
        ("get.errors < 1.2.3", "no share"),
        ("get.rate > 5", "no rate"),
        ("p99 < 5ms", "cannot be read"),
    ],
)
def test_a_threshold_that_fits_nothing_is_one_message(text: str, said: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_threshold(text, ("get",))
    assert said in str(caught.value)


def test_thresholds_are_read_in_their_units() -> None:
    assert read_threshold("get.p99.9<=0.25s", ("get",))[1:] == ("get", "p99.9", "<=", 0.25)
    assert read_threshold("all.errors < 1%", ("get",)).limit == 0.01
    assert read_threshold("all.errors < 0.5", ("get",)).limit == 0.5
    assert read_threshold("get.rate >= 600/m", ("get",)).limit == 10.0
    assert read_threshold("get.max < 1s", ("get",)).percentile == 100.0
    assert read_threshold("get.p100 < 1s", ("get",)).percentile == 100.0
    assert read_threshold("get.p99 < 50 ms ", ("get",)).limit == 0.05
    assert read_threshold("all.errors <= 0 %", ("get",)).limit == 0.0
    assert read_threshold("all.rate > 290 / s", ("get",)).limit == 290.0
