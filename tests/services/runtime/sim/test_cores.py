"""The cores of a machine that several processes share, held to processor sharing's formulas."""

from __future__ import annotations

import asyncio

import pytest

from protocol.messages.agent import Distribution, ServiceTime, ServiceTimes
from services.runtime.request_queues import QueueFigures, ServiceQueue, draw_service_time
from services.runtime.seeded import stream
from services.runtime.sim.cores import SharedCores
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


def test_pieces_share_the_cores_evenly() -> None:
    assert finish_times(1, (0, 1), (0, 1)) == pytest.approx([2, 2], abs=1e-3)
    assert finish_times(2, (0, 1), (0, 1)) == pytest.approx([1, 1], abs=1e-3)
    assert finish_times(2, (0, 1), (0, 1), (0, 1)) == pytest.approx([1.5] * 3, abs=1e-3)
    assert finish_times(1, (0, 2), (1, 0.5)) == pytest.approx([2.5, 2], abs=1e-3)


@pytest.mark.parametrize("distribution", [Distribution.CONSTANT, Distribution.EXPONENTIAL])
def test_the_mean_time_on_one_core_is_that_of_m_g_1_with_processor_sharing(
    distribution: Distribution,
) -> None:
    """E[T] = E[S] / (1 - load), whatever the distribution of S."""
    load, time = 0.6, ServiceTime(mean_s=0.01, distribution=distribution)
    with SimLoop(5) as loop:
        shared, draws, taken = SharedCores(loop, 1), stream(5, "work"), list[float]()

        async def one() -> None:
            begun = loop.time()
            await shared.work(draw_service_time(time, draws))
            taken.append(loop.time() - begun)

        async def main() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(4000):
                    await loop.sleep_future(draws.expovariate(load / 0.01))
                    group.create_task(one())

        loop.run(main())
        assert sum(taken) / len(taken) == pytest.approx(0.01 / (1 - load), rel=0.12)
        assert shared.busy_s / loop.time() == pytest.approx(load, rel=0.05)


def test_a_process_works_on_one_thing_at_a_time_and_is_slower_when_it_was_idle() -> None:
    """Two processes on two cores: the second request of the first process waits for its process,
    though a core is free; only what finds its process idle waits for it to wake up."""
    with SimLoop(1) as loop:
        shared = SharedCores(loop, 2, ServiceTime(mean_s=0.1), ServiceTime(mean_s=0.2))
        times = ServiceTimes(times={"*": ServiceTime(mean_s=1.0)})
        figures = QueueFigures()

        def process() -> ServiceQueue:
            return ServiceQueue(times, LoopClock(loop), stream(1, "x"), figures, shared)

        first, second = process(), process()

        async def one(queue: ServiceQueue, after_s: float, deadline: float = 0.0) -> float:
            await loop.sleep_future(after_s)
            await queue.serve("CreateKey", None, deadline)
            return loop.time()

        async def main() -> list[float]:
            work = (
                one(first, 0.0),  # 0.1 s to wake up, 1 s, and 0.2 s since it is cold
                one(first, 0.5),  # waits, and finds its process warm
                one(first, 0.6, deadline=1.5),  # reaches a core after that, and takes no time
                one(second, 0.0),
                one(second, 1.31),  # was idle for half of the time that makes it cold
            )
            return list(await asyncio.gather(*work))

        ended = loop.run(main())
    assert ended == pytest.approx([1.3, 2.3, 2.3, 1.3, 2.51], abs=2e-3)
    assert (figures.served, figures.longest) == (4, 2)
