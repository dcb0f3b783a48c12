"""Clock and Rng of the simulation."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from protocol.terms import NodeName
from services.runtime.incarnation import Incarnation, NodeDown, WayDown
from services.runtime.ports import Clock, Rng
from services.runtime.sim.clock_and_rng import SimClock, SimRng
from services.runtime.sim.loop import SimLoop

pytestmark = pytest.mark.sim

A, B = NodeName("a"), NodeName("b")


@pytest.fixture
def loop() -> Iterator[SimLoop]:
    with SimLoop(1) as made:
        yield made


def clock_of(loop: SimLoop, node: NodeName = A) -> SimClock:
    life = Incarnation(node, 1)
    return SimClock(loop, life, SimRng(1, life))


def test_the_wall_clock_is_skewed_and_nothing_else(loop: SimLoop) -> None:
    a, b = clock_of(loop), clock_of(loop, B)
    port: Clock = a
    assert port.now() == b.now() == loop.epoch
    a.skew_s = -3600.0

    async def main() -> None:
        await a.sleep(10)
        assert b.now() - a.now() == pytest.approx(3600)
        assert a.monotonic() == b.monotonic() == pytest.approx(10, abs=0.001)
        with pytest.raises(TimeoutError):
            async with a.timeout(a.limit(5)):
                await b.sleep(100)
        assert a.monotonic() == pytest.approx(15, abs=0.001)
        rung: list[float] = []
        a.alarm(a.limit(5), lambda: rung.append(-1)).cancel()
        a.alarm(a.limit(5), lambda: rung.append(a.monotonic()))
        await b.sleep(100)
        assert rung == [pytest.approx(20, abs=0.001)]

    loop.run(main())


def test_the_epoch_comes_from_the_seed() -> None:
    assert SimLoop(1).epoch == SimLoop(1).epoch
    assert len({SimLoop(seed).epoch for seed in range(20)}) == 20


def test_every_keeps_its_grid_and_never_piles_up(loop: SimLoop) -> None:
    clock, stamps = clock_of(loop), []

    async def main() -> None:
        async for tick in clock.every(10):
            stamps.append((tick, round(clock.monotonic(), 2)))
            if tick == 2:
                await clock.sleep(27)  # misses two ticks
            if tick == 5:
                break

    loop.run(main())
    assert stamps == [(1, 10), (2, 20), (3, 47), (4, 57), (5, 67)]


def test_every_with_jitter_does_not_drift(loop: SimLoop) -> None:
    clock, late = clock_of(loop), []

    async def main() -> None:
        async for tick in clock.every(10, 2):
            late.append(clock.monotonic() - 10 * tick)
            if tick == 200:
                break

    loop.run(main())
    assert all(-0.01 <= wait <= 2.01 for wait in late)
    assert max(late) - min(late) > 1


def test_a_period_of_nothing_is_refused(loop: SimLoop) -> None:
    with pytest.raises(ValueError, match="period"):
        clock_of(loop).every(0)


def test_a_dead_life_has_no_clock_and_no_rng(loop: SimLoop) -> None:
    life = Incarnation(A, 1)
    rng = SimRng(1, life)
    clock = SimClock(loop, life, rng)
    life.end(WayDown.CRASH)
    for call in (
        clock.now,
        clock.monotonic,
        lambda: clock.every(1),
        lambda: clock.timeout(1),
        lambda: clock.alarm(1, lambda: None),
        lambda: rng.stream("x"),
        lambda: rng.token(1),
    ):
        with pytest.raises(NodeDown):
            call()
    with pytest.raises(NodeDown):
        asyncio.run(clock.sleep(1))


def test_streams_are_apart_and_repeat() -> None:
    def draws(seed: int, node: NodeName, boot: int, name: str) -> list[float]:
        rng: Rng = SimRng(seed, Incarnation(node, boot))
        assert rng.stream(name) is rng.stream(name)
        return [rng.stream(name).random() for _ in range(3)]

    first = draws(1, A, 1, "x")
    assert draws(1, A, 1, "x") == first
    others = [draws(2, A, 1, "x"), draws(1, B, 1, "x"), draws(1, A, 2, "x"), draws(1, A, 1, "y")]
    assert first not in others
    assert len({tuple(other) for other in others}) == 4


def test_tokens_never_repeat_and_replay() -> None:
    def tokens(boot: int) -> list[bytes]:
        rng = SimRng(1, Incarnation(A, boot))
        return [rng.token(16) for _ in range(100)]

    assert tokens(1) == tokens(1)
    assert len({*tokens(1), *tokens(2)}) == 200
    assert [len(SimRng(1, Incarnation(A, 1)).token(size)) for size in (0, 1, 32, 1000)] == [
        0,
        1,
        32,
        1000,
    ]
