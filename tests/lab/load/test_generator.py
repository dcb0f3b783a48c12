"""What a generator offers, and what it counts when a server, or itself, is slow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from chaos.load.arrivals import Spread, draw, length, read_profile
from chaos.load.planned import read_threshold
from lab.load.generator import Generator
from lab.load.report import LoadTerms, build_report
from lab.schema.answers.load import LoadReport
from tests.lab.load.play import Stalling, load
from tests.lab.load.stall import closed_loop, seen

pytestmark = pytest.mark.sim


@pytest.mark.slow
def test_a_stall_of_two_seconds_in_ten_is_seen_by_open_arrivals_and_not_by_a_closed_loop() -> None:
    report = load(Stalling(), "get.p99 < 100ms")
    [get, _] = report.items
    assert get.p99_ms is not None and 1800 < get.p99_ms < 2010
    assert get.p90_ms is not None and get.p90_ms > 900, "a fifth of the time is stalled"
    assert [held.holds for held in report.thresholds] == [False] and report.verdict == "fail"
    closed = closed_loop(Stalling(), 4, 60.0)
    assert len(closed) > 5000
    assert closed[int(len(closed) * 0.99)] < 0.01, "its clients wait, and ask nothing meanwhile"
    assert closed[-1] > 1.9, "one each has seen it"
    text = seen()
    assert "open arrivals" in text and "closed loop" in text, "what the docs show"


def test_what_is_offered_is_what_was_drawn_whatever_the_server_does() -> None:
    quick, slow = load(Stalling(stall=0.0)), load(Stalling(stall=8.0))
    for report in (quick, slow):
        assert report.items[-1].offered == report.generator.drawn > 5500
        assert abs(report.items[-1].offered_per_s / report.generator.drawn_per_s - 1) < 0.01
        assert not report.generator.saturated and not report.generator.held
    assert quick.generator.drawn == slow.generator.drawn
    assert quick.verdict == "none"


@pytest.mark.slow
def test_the_same_seed_is_the_same_load_and_another_is_not() -> None:
    first, again = load(Stalling(), seed=7), load(Stalling(), seed=7)
    assert first == again
    assert load(Stalling(), seed=8).generator.drawn != first.generator.drawn


def test_what_waits_because_too_many_are_under_way_waits_in_the_latency() -> None:
    report = load(Stalling(), outstanding=5)
    own = report.generator
    assert own.held > 500 and not own.saturated, "that is no fault of the generator"
    [get, _] = report.items
    assert get.offered == own.drawn and get.failed == 0
    assert get.p99_ms is not None and get.p99_ms > 1800


async def never(number: int) -> str:
    await asyncio.sleep(1e6)
    return ""


def test_no_answer_is_an_error_and_as_long_as_it_was_waited_for() -> None:
    report = load(never, "all.errors < 1%", duration="10s", outstanding=100, drain_s=5.0)
    every = report.items[-1]
    assert every.ok == 0 and every.failed == report.generator.drawn
    assert every.errors["TimedOut"] == 100
    assert every.errors["Unsent"] == every.failed - 100
    assert every.p50_ms is not None and every.p50_ms > 5000
    assert every.offered == 100
    assert report.thresholds[0].value == 1.0 and report.verdict == "fail"


async def refuse(number: int) -> str:
    await asyncio.sleep(0.0001)
    return "PermissionDenied" if number % 4 == 0 else ""


def test_a_refusal_is_counted_by_its_id_and_makes_no_latency_better() -> None:
    report = load(refuse, "all.errors < 20%", "all.rate > 70/s", duration="20s")
    every = report.items[-1]
    assert list(every.errors) == ["PermissionDenied"]
    assert every.ok == every.offered - every.failed > 1000
    assert [held.holds for held in report.thresholds] == [False, True]
    assert sum(moment.failed for moment in report.moments) == every.failed
    assert sum(moment.offered for moment in report.moments) == every.offered


def test_a_threshold_with_nothing_to_measure_is_unknown() -> None:
    async def fail(number: int) -> str:
        return "Refused"

    report = load(fail, "get.p99 < 1s", "put.p99 < 1s", duration="5s", mix={"get": 1, "put": 9})
    assert {held.holds for held in report.thresholds} == {None} and report.verdict == "unknown"


@pytest.mark.slow
async def test_a_generator_that_is_late_by_itself_says_so_and_its_failure_is_no_verdict() -> None:
    """Real time: something else has the process for half a second."""

    async def hog(number: int) -> str:
        if number == 10:
            time.sleep(0.5)  # noqa: ASYNC251 - that is what is tested
        return ""

    _, report = await real(hog, "200/s", "1s", outstanding=100, cpu_s=0.6)
    assert report.generator.saturated and report.generator.late > 50
    assert report.generator.late_max_ms > 400
    assert report.thresholds[0].holds is False and report.verdict == "unknown"


async def test_a_generator_that_is_slow_itself_cannot_hide_it_behind_few_under_way() -> None:
    """Real time: each operation takes 2 ms of this process, and four a millisecond are wanted."""

    async def busy(number: int) -> str:
        for _ in range(2):
            await asyncio.sleep(0)
            until = time.thread_time() + 0.001
            while time.thread_time() < until:
                pass
        return ""

    generator, report = await real(busy, "4000/s", "50ms", outstanding=20, cpu_s=0.0)
    assert report.generator.held > 100, "the rest had no room"
    assert report.generator.saturated and report.verdict == "unknown"
    assert sum(generator.record.held) > 100


async def test_a_stall_fails_though_the_generator_was_late_afterwards() -> None:
    """Real time: the server stands still for 0.45 s, and this process has much to do then."""
    loop = asyncio.get_running_loop()
    gone = loop.create_future()
    loop.call_later(0.45, gone.set_result, None)

    async def stalling(number: int) -> str:
        first = not gone.done()
        await asyncio.shield(gone)
        if first and number % 10 == 0:
            time.sleep(0.01)  # noqa: ASYNC251 - that is what is tested
        return ""

    _, report = await real(stalling, "100/s", "600ms", outstanding=100, cpu_s=0.0)
    assert report.generator.saturated and report.verdict == "fail"


async def test_a_generator_that_uses_a_core_up_is_saturated() -> None:
    _, report = await real(Stalling(0.0, took=0.03), "50/s", "200ms", outstanding=100, cpu_s=0.5)
    assert report.generator.saturated and report.verdict == "unknown"
    _, report = await real(Stalling(0.0, took=0.03), "50/s", "200ms", outstanding=100, cpu_s=0.05)
    assert report.generator.late > 0 or report.verdict == "fail"


async def real(
    act: Callable[[int], Awaitable[str]],
    rate: str,
    duration: str,
    *,
    outstanding: int,
    cpu_s: float,
) -> tuple[Generator, LoadReport]:
    """Offer it in real time, with a threshold of 20 ms."""
    profile = read_profile(rate, duration)
    arrivals = draw(profile, {"get": 1}, askers=1, seed=1, spread=Spread.EVEN)
    generator = Generator(arrivals, act, outstanding=outstanding, drain_s=5.0)
    await generator.run()
    ended = asyncio.get_running_loop().time() - generator.begin_at
    limit = [read_threshold("get.p99 < 20ms", ("get",))]
    seconds = length(profile)
    asked = LoadTerms("here", rate, {"get": 1}, Spread.EVEN, 1, 0.0, seconds, limit, outstanding)
    return generator, build_report(asked, arrivals, generator, ended_s=ended, cpu_s=cpu_s)


def test_a_defect_of_an_operation_is_no_figure() -> None:
    async def broken(number: int) -> str:
        raise ZeroDivisionError("planted")

    with pytest.raises(ZeroDivisionError):
        load(broken)
