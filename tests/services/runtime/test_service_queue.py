"""The queue in front of a node's cores, held to the formulas of queueing theory."""

from __future__ import annotations

import math
from typing import cast

import pytest

from protocol.messages.agent import Distribution, ServiceTime, ServiceTimes, Slowdown
from services.runtime.ports import Clock
from services.runtime.request_queues import QueueFigures, ServiceQueue, draw_service_time
from services.runtime.seeded import stream

MEAN_S = 0.01


class StandingClock:
    """A clock that a test moves by hand."""

    now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


def play(
    distribution: Distribution,
    load: float,
    cores: int = 1,
    arrivals: int = 25_000,
    slowdown: Slowdown | None = None,
) -> QueueFigures:
    """Poisson arrivals at ``load`` of the capacity of ``cores``: what went through the queue."""
    clock, figures = StandingClock(), QueueFigures()
    times = ServiceTimes(
        cores=cores, times={"*": ServiceTime(mean_s=MEAN_S, distribution=distribution)}
    )
    queue = ServiceQueue(times, cast(Clock, clock), stream(7, "service"), figures)
    queue.slowdown = slowdown
    gaps, rate = stream(7, "arrivals"), load * cores / MEAN_S
    for _ in range(arrivals):
        clock.now_s += gaps.expovariate(rate)
        queue.enter("CreateKey")
    return figures


def mean_wait(figures: QueueFigures) -> float:
    """In units of the mean service time."""
    return figures.waited_s / figures.served / MEAN_S


def crommelin(load: float, cores: int) -> float:
    """The mean wait of M/D/c in units of the service time (Crommelin 1932)."""
    a, total = load * cores, 0.0
    for i in range(1, 120):
        at = i * cores
        terms = [
            math.exp(j * math.log(i * a) - i * a - math.lgamma(j + 1)) for j in range(at, at + 200)
        ]
        total += sum(terms) - sum(terms[1:]) / load
    return total


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_exponential_times_on_one_core_wait_as_m_m_1_says(load: float) -> None:
    figures = play(Distribution.EXPONENTIAL, load)
    assert mean_wait(figures) == pytest.approx(load / (1 - load), rel=0.06)
    assert figures.busy_s / figures.served == pytest.approx(MEAN_S, rel=0.02)


@pytest.mark.parametrize("cores", [1, 3])
def test_constant_times_on_several_cores_wait_as_m_d_c_says(cores: int) -> None:
    assert crommelin(0.7, 1) == pytest.approx(0.7 / (2 * (1 - 0.7)), rel=1e-3)
    expected = crommelin(0.7, cores)
    assert mean_wait(play(Distribution.CONSTANT, 0.7, cores)) == pytest.approx(expected, rel=0.06)


def test_a_slowdown_of_a_share_raises_the_mean_by_its_part() -> None:
    slow = play(Distribution.CONSTANT, 0.1, slowdown=Slowdown(factor=3, share=0.25))
    assert slow.busy_s / slow.served / MEAN_S == pytest.approx(1 + 0.25 * 2, rel=0.02)
    added = ServiceTime(mean_s=MEAN_S, distribution=Distribution.EXPONENTIAL)
    longer = play(Distribution.CONSTANT, 0.1, slowdown=Slowdown(extra=added))
    assert longer.busy_s / longer.served / MEAN_S == pytest.approx(2, rel=0.02)


def test_lognormal_times_have_the_mean_and_the_spread_of_their_profile() -> None:
    time = ServiceTime(mean_s=0.02, distribution=Distribution.LOGNORMAL, each_s=0.001, spread=0.5)
    choices = stream(3, "service")
    drawn = [draw_service_time(time, choices, entries=10) for _ in range(20_000)]
    mean = sum(drawn) / len(drawn)
    assert mean == pytest.approx(0.03, rel=0.01)
    deviation = math.sqrt(sum((one - mean) ** 2 for one in drawn) / len(drawn))
    assert deviation / mean == pytest.approx(0.5, rel=0.03)


def test_what_reaches_a_core_after_its_deadline_takes_no_time_there() -> None:
    clock, figures = StandingClock(), QueueFigures()
    times = ServiceTimes(times={"CreateKey": ServiceTime(mean_s=1.0)})
    queue = ServiceQueue(times, cast(Clock, clock), stream(1, "service"), figures)
    assert [queue.enter("CreateKey", deadline=1.5) for _ in range(4)] == [1.0, 2.0, 2.0, 2.0]
    assert (figures.served, figures.busy_s, figures.longest) == (2, 2.0, 1)
    assert queue.enter("Locate") == 0.0
