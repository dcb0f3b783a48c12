"""Sleeps in virtual time: no step of their own, and none that anybody waits for when it is over."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import pytest

from protocol.terms import NodeName
from services.runtime.incarnation import Incarnation, WayDown, context_of
from services.runtime.sim.loop import Deadlock, SimLoop
from services.runtime.sim.ready_queue import StepOrder

pytestmark = pytest.mark.sim


@pytest.fixture(params=list(StepOrder))
def loop(request: pytest.FixtureRequest) -> Iterator[SimLoop]:
    with SimLoop(11, order=request.param) as made:
        yield made


def test_a_sleep_is_one_step_of_whoever_sleeps(loop: SimLoop) -> None:
    async def main() -> None:
        before = loop.steps
        for _ in range(10):
            await loop.sleep_future(0.5)
        assert loop.steps - before == 10

    loop.run(main())
    assert loop.time() == pytest.approx(5, abs=0.001)


def test_a_sleep_that_was_cancelled_is_left_behind(loop: SimLoop) -> None:
    async def main() -> None:
        for _ in range(5_000):
            with suppress(TimeoutError):
                async with asyncio.timeout(0.001):
                    await loop.sleep_future(1000)
            loop.sleep_future(1000).cancel()
        await loop.sleep_future(1)

    loop.run(main())
    assert len(loop._timers) < 300
    assert 6 < loop.time() < 7


def test_sleeps_and_timers_of_one_instant_come_by_age() -> None:
    loop, seen = SimLoop(1, order=StepOrder.FIFO), list[int]()

    def note(number: int, _: object) -> None:
        seen.append(number)

    async def main() -> None:
        at = 0.5 - loop.time()
        for number in range(10):
            if number % 2:
                loop.call_at(0.5, seen.append, number)
            else:
                loop.sleep_future(at).add_done_callback(partial(note, number))
        await asyncio.sleep(1)

    with loop:
        loop.run(main())
    assert seen == list(range(10))


def test_a_dead_nodes_sleeps_do_not_keep_the_world_going(loop: SimLoop) -> None:
    life = Incarnation(NodeName("a"), 1)

    async def ticks() -> None:
        while True:
            await loop.sleep_future(300)

    async def main() -> None:
        loop.create_task(ticks(), context=context_of(life))
        await loop.sleep_future(1)
        life.end(WayDown.CRASH)
        await asyncio.Event().wait()

    with pytest.raises(Deadlock):
        loop.run(main())
    assert loop.time() < 2
