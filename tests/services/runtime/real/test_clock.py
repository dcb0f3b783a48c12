"""The lab's clock: lab seconds, a floor under limits, a skew that moves the wall clock only."""

from __future__ import annotations

import asyncio
import time

import pytest

from protocol.terms import NodeName
from services.runtime.incarnation import Incarnation, NodeDown, WayDown
from services.runtime.real.clock_and_rng import FLOOR_S, LabRng, PacedClock


def clock_of(life: Incarnation, pace: float = 1.0, skew_s: float = 0.0) -> PacedClock:
    return PacedClock(
        life, LabRng(1, life), epoch=time.monotonic(), wall=1_000_000.0, pace=pace, skew_s=skew_s
    )


@pytest.fixture
def life() -> Incarnation:
    return Incarnation(NodeName("esxi-001"), 1)


async def test_time_passes_in_lab_seconds(life: Incarnation) -> None:
    clock = clock_of(life, pace=200.0)
    begun, real = clock.monotonic(), time.monotonic()
    await clock.sleep(10.0)
    assert clock.monotonic() - begun >= 10.0
    assert time.monotonic() - real >= 10.0 / 200.0


def test_pace_multiplies_both_clocks(life: Incarnation) -> None:
    rng = LabRng(1, life)
    since = {"epoch": 100.0, "wall": 1_000_000.0}
    clock = PacedClock(life, rng, **since, pace=60.0, skew_s=-7.0, read=lambda: 105.0)
    assert clock.monotonic() == 300.0
    assert clock.now() == 1_000_293.0


async def test_all_nodes_of_a_lab_agree(life: Incarnation) -> None:
    epoch = time.monotonic() - 5.0
    one, two = (
        PacedClock(life, LabRng(1, life), epoch=epoch, wall=1_000_000.0, pace=60.0)
        for _ in range(2)
    )
    first, second, third = one.monotonic(), two.monotonic(), one.monotonic()
    assert 300.0 <= first <= second <= third
    assert 1_000_300.0 <= one.now() <= two.now()


async def test_skew_moves_the_wall_clock_only(life: Incarnation) -> None:
    clock = clock_of(life, pace=10.0)
    before, now = clock.monotonic(), clock.now()
    clock.skew_s = -86_400.0
    assert clock.now() < now - 80_000.0
    assert clock.monotonic() >= before
    clock.skew_s = 0.0
    assert clock.now() >= now


def test_no_limit_lasts_less_than_the_floor(life: Incarnation) -> None:
    assert clock_of(life, pace=1.0).limit(30.0) == 30.0
    assert clock_of(life, pace=1.0).limit(0.1) == FLOOR_S
    fast = clock_of(life, pace=60.0)
    assert fast.limit(10.0) == 120.0  # 2 real seconds
    assert fast.limit(300.0) == 300.0


async def test_timeout_uses_the_limit(life: Incarnation) -> None:
    clock = clock_of(life, pace=60.0)
    loop = asyncio.get_running_loop()
    before = loop.time()
    async with clock.timeout(1.0) as limit:
        due = limit.when()
    assert due is not None
    assert due >= before + FLOOR_S
    with pytest.raises(TimeoutError):
        async with clock.timeout(1.0) as limit:
            limit.reschedule(loop.time())
            await asyncio.Event().wait()


@pytest.mark.slow
async def test_an_alarm_rings_at_the_limit_unless_it_is_cancelled(life: Incarnation) -> None:
    clock, rung = clock_of(life, pace=1000.0), asyncio.Event()
    before = asyncio.get_running_loop().time()
    clock.alarm(1.0, lambda: pytest.fail("it was cancelled")).cancel()
    alarm = clock.alarm(1.0, rung.set)
    assert alarm.when() >= before + FLOOR_S
    await rung.wait()


async def test_every_ticks_after_each_period_and_never_piles_up(life: Incarnation) -> None:
    clock = clock_of(life, pace=500.0)
    begun, stamps = clock.monotonic(), []
    async for tick in clock.every(5.0, jitter_s=2.0):
        stamps.append(clock.monotonic())
        if tick == 2:
            await clock.sleep(30.0)  # a slow body
        if tick == 4:
            break
    assert tick == 4
    assert stamps[0] >= begun + 5.0
    assert stamps[2] >= stamps[1] + 30.0
    assert stamps[3] >= stamps[2] + 5.0 - 2.0  # the missed ticks are gone
    with pytest.raises(ValueError, match="never let time pass"):
        clock.every(0.0)


async def test_a_dead_life_has_no_time(life: Incarnation) -> None:
    clock = clock_of(life, pace=100.0)
    sleeping = asyncio.create_task(clock.sleep(1.0))
    await asyncio.sleep(0)
    life.end(WayDown.CRASH)
    with pytest.raises(NodeDown):
        await sleeping
    alarm = lambda: clock.alarm(1.0, asyncio.Event().set)  # noqa: E731
    for call in (clock.now, clock.monotonic, lambda: clock.timeout(1.0), alarm):
        with pytest.raises(NodeDown):
            call()


def test_a_pace_is_positive(life: Incarnation) -> None:
    with pytest.raises(ValueError, match="pace"):
        clock_of(life, pace=0.0)
