"""The cores of a machine that several processes share, and what its processes take to wake up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from protocol.messages.agent import COLD, WAKEUP, Distribution, ServiceTime, ServiceTimes
from services.runtime.request_queues import QueueFigures, ServiceQueue, draw_service_time
from services.runtime.seeded import stream
from services.runtime.sim.cores import (
    COLD_AFTER_S,
    SLICE_S,
    CommitGroups,
    SharedCores,
    SharedProcess,
)
from services.runtime.sim.loop import SimLoop


class LoopClock:
    """The time of a loop, as a world has it."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await self._loop.sleep_future(seconds)


def finish_times(cores: int, *work: tuple[float, float]) -> list[float]:
    """When each piece (its start, its seconds) is done."""
    with SimLoop(3) as loop:
        shared = SharedCores(loop, cores)

        async def one(start: float, seconds: float) -> float:
            await loop.sleep_future(start)
            await shared.work(seconds)
            return loop.time()

        async def main() -> list[float]:
            return await asyncio.gather(*(one(*piece) for piece in work))

        return loop.run(main())


def test_pieces_wait_for_a_core_and_long_ones_take_turns() -> None:
    short = SLICE_S / 3
    first, second = sorted(finish_times(1, (0, short), (0, short)))
    assert (first, second) == pytest.approx((short, 2 * short), abs=1e-4)
    assert finish_times(2, (0, 1), (0, 1)) == pytest.approx([1, 1], abs=1e-3)
    assert finish_times(1, (0, 1), (0, 1)) == pytest.approx([2, 2], abs=2 * SLICE_S)
    assert finish_times(2, (0, 1), (0, 1), (0, 1)) == pytest.approx([1.5] * 3, abs=2 * SLICE_S)
    long, late = finish_times(1, (0, 1), (0.5, short))  # which waits for one slice at most
    assert late < 0.5 + SLICE_S + 2 * short
    assert long == pytest.approx(1 + short, abs=1e-3)


@pytest.mark.parametrize(("cores", "load"), [(1, 0.6), (2, 0.8)])
def test_short_pieces_wait_as_m_m_c_says(cores: int, load: float) -> None:
    """The mean time of Erlang's formula: E[S] (1 + C(c, load) / (c (1 - load)))."""
    mean_s = SLICE_S / 30
    wait = load if cores == 1 else 2 * load**2 / (1 + load)  # that a piece has to
    time = ServiceTime(mean_s=mean_s, distribution=Distribution.EXPONENTIAL)
    with SimLoop(5) as loop:
        shared, draws, taken = SharedCores(loop, cores), stream(5, "work"), list[float]()

        async def one() -> None:
            begun = loop.time()
            await shared.work(draw_service_time(time, draws))
            taken.append(loop.time() - begun)

        async def main() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(10_000):
                    await loop.sleep_future(draws.expovariate(cores * load / mean_s))
                    group.create_task(one())

        loop.run(main())
        expected = mean_s * (1 + wait / (cores * (1 - load)))
        assert sum(taken) / len(taken) == pytest.approx(expected, rel=0.12)
        assert shared.busy_s / loop.time() == pytest.approx(cores * load, rel=0.05)


def process_of(loop: SimLoop, cores: SharedCores, after: float = 0.0) -> SharedProcess:
    """Its pieces take a second each, its wake-ups 0.2 s, when it is cold 0.4 s more."""
    times = {WAKEUP: ServiceTime(mean_s=0.2), COLD: ServiceTime(mean_s=0.4)}
    delay = ServiceTime(mean_s=0.1)
    draws = stream(1, "x")
    return SharedProcess(loop, cores, draws, ServiceTimes(times=times), delay, after)


def test_a_process_works_on_one_thing_at_a_time_and_is_slower_when_it_was_idle() -> None:
    """Two processes on two cores: the second request of the first process waits for its process,
    though a core is free; only what finds its process idle waits for it to wake up."""
    with SimLoop(1) as loop:
        shared, figures = SharedCores(loop, 2), QueueFigures()
        times = ServiceTimes(times={"*": ServiceTime(mean_s=1.0)})

        def queue(process: SharedProcess) -> ServiceQueue:
            return ServiceQueue(times, LoopClock(loop), stream(1, "x"), figures, process)

        processes = [process_of(loop, shared) for _ in range(2)]
        first, second = map(queue, processes)

        async def one(of: ServiceQueue, after_s: float, deadline: float = 0.0) -> float:
            await loop.sleep_future(after_s)
            await of.serve("CreateKey", None, deadline)
            return loop.time()

        async def main() -> list[float]:
            work = (
                one(first, 0.0),  # 0.1 s until it has a core, 0.6 s to wake up cold, 1 s
                one(first, 0.5),  # waits, and finds its process awake
                one(first, 0.6, deadline=1.6),  # reaches a core after that, and takes no time
                one(second, 0.0),
                one(second, 1.7 + COLD_AFTER_S / 2),  # half as cold
            )
            return list(await asyncio.gather(*work))

        ended = loop.run(main())
    assert ended == pytest.approx([1.7, 2.7, 2.7, 1.7, 3.21], abs=2e-2)
    assert (figures.served, figures.longest) == (4, 2)
    assert processes[0].counts == {"CreateKey": 3, WAKEUP: 1, COLD: 1}
    assert processes[1].counts[COLD] == pytest.approx(1.5, abs=0.1)


def test_a_part_of_waking_up_may_hold_up_nothing_and_takes_a_core() -> None:
    with SimLoop(1) as loop:
        shared = SharedCores(loop, 2)
        process = process_of(loop, shared, after=0.5)

        async def main() -> float:
            await process.work("CreateKey", 1.0)
            ended = loop.time()
            await loop.sleep_future(1.0)
            return ended

        assert loop.run(main()) == pytest.approx(0.1 + 0.3 + 1.0, abs=1e-3)
        assert shared.busy_s == pytest.approx(1.6, abs=1e-3)


def test_calls_that_come_while_a_commit_is_under_way_share_the_next_one() -> None:
    with SimLoop(1) as loop:

        async def commit(begin: Callable[[], float]) -> None:
            await loop.sleep_future(begin())

        groups = CommitGroups(loop, commit)

        async def one(start: float) -> float:
            await loop.sleep_future(start)
            await groups.join(1.0)
            return loop.time()

        async def main() -> list[float]:
            return await asyncio.gather(*map(one, (0.0, 0.2, 0.9, 2.5)))

        assert loop.run(main()) == pytest.approx([1, 2, 2, 3.5], abs=1e-3)


@pytest.mark.parametrize("busy", [False, True])
def test_a_thread_of_a_process_wakes_up_also_while_the_process_works(busy: bool) -> None:
    with SimLoop(1) as loop:
        process = process_of(loop, SharedCores(loop, 2))

        async def main() -> None:
            work = [process.work("CreateKey", 1.0)] if busy else []
            await asyncio.gather(*work, process.work("disk.sync", 0.0, thread=True))

        loop.run(main())
        assert process.counts[WAKEUP] == 1 + busy
