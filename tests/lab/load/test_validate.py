"""``load validate``: the same load on processes and simulated, and how far apart the two are."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lab.cli.main import run
from lab.client import Lab
from lab.local.prediction import Compared, ServedRate, list_lines, middle, offer


def served(rate: float, ok_per_s: float, p50_ms: float, p99_ms: float) -> ServedRate:
    return ServedRate(rate, rate, ok_per_s, p50_ms, p99_ms, failed=0)


def test_a_rate_is_served_when_what_arrived_is_served() -> None:
    drawn = ServedRate(10, 8.8, 8.8, 1.0, 1.0, failed=0)  # chance drew fewer than the rate says
    assert drawn.kept_up
    assert ServedRate(12, 10.0, 9.0, 1.0, 1.0, failed=0).kept_up
    assert not ServedRate(8, 10.0, 8.9, 1.0, 1.0, failed=0).kept_up


@pytest.mark.parametrize(
    ("simulated", "agrees"),
    [
        (served(10, 9.0, 115.0, 260.0), True),
        (served(10, 8.9, 115.0, 260.0), False),
        (served(10, 9.0, 116.0, 260.0), False),
        (served(10, 9.0, 84.0, 260.0), False),
        (served(10, 9.0, 115.0, 261.0), False),
    ],
)
def test_a_prediction_agrees_within_its_limits(simulated: ServedRate, agrees: bool) -> None:
    assert Compared(served(10, 10.0, 100.0, 200.0), simulated).agrees is agrees


def test_latencies_beyond_saturation_are_not_compared() -> None:
    overrun = ServedRate(20, 20.0, 12.0, 500.0, 900.0, failed=0)
    faster = ServedRate(20, 20.0, 13.0, 50.0, 90.0, failed=0)
    assert Compared(overrun, faster).agrees
    assert not Compared(overrun, served(20, 18.0, 500.0, 900.0)).agrees


def test_the_table_says_how_far_apart_the_two_are_and_where_each_is_saturated() -> None:
    overrun = ServedRate(20, 20.0, 12.0, 500.0, 0.0, failed=0)
    pairs = [
        Compared(served(10, 10.0, 20.0, 40.0), served(10, 10.0, 10.0, 80.0), load=1.5),
        Compared(overrun, served(20, 18.0, 20.0, 50.0)),
    ]
    lines = list_lines(pairs)
    assert lines[1].split() == "10 10.0 10.0 +0% 20.0 10.0 -50% 40.0 80.0 +100% 1.5".split()
    assert lines[3] == "saturation: not reached in the simulation; offer higher rates"
    assert lines[4].startswith("0 of 2 rates agree")
    late = Compared(overrun, ServedRate(20, 20.0, 13.5, 20.0, 50.0, failed=0))
    assert list_lines([pairs[0], late])[3] == (
        "saturation: 12.0/s on real processes, 13.5/s simulated, +12%: agrees (within 15%)"
    )
    assert list_lines([pairs[0]])[2].startswith("saturation: not reached on real processes")


def test_the_median_of_several_runs_counts() -> None:
    runs = [served(10, ok, p50, 40.0) for ok, p50 in ((9.0, 90.0), (10.0, 20.0), (9.5, 10.0))]
    assert middle(runs) == served(10, 9.5, 20.0, 40.0)


@pytest.mark.slow
def test_a_slow_key_server_slows_the_offered_load_in_the_simulation() -> None:
    async def play(key: str) -> ServedRate:
        times = {"nodes": {"kms": {"times": {"CreateKey": key}}}}
        base = {"hosts": 1, "vms": 4, "tpm": "none", "pace": 1.0}
        changes: dict[str, Any] = {**base, "service_times": times}
        async with Lab("sim", topology="default", seed=3, **changes) as lab:
            return await lab.beside(offer, 4.0, 5.0, 3)

    quick, slow = asyncio.run(play("1ms")), asyncio.run(play("1s"))
    assert quick.kept_up and quick.failed == 0
    assert not slow.kept_up  # one key a second, and more than two are wanted
    assert slow.p99_ms > quick.p99_ms + 1000


@pytest.mark.parametrize(
    "words",
    [
        ["--rates", "0"],
        ["--rates", "five"],
        ["--hosts", "0"],
        ["--duration", "1h"],
        ["--repeat", "0"],
    ],
)
def test_a_load_that_cannot_be_is_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["load", "validate", *words]) == 64
    assert "KS-USE-003" in capsys.readouterr().err
