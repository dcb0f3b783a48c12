"""The simulation's event loop: time, order, ends of lives, pauses, and the wall around it."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextvars import copy_context
from typing import Any

import pytest

from protocol.terms import NodeName
from services.runtime.incarnation import CURRENT, Incarnation, WayDown, context_of
from services.runtime.sim.loop import STEP_NS, Deadlock, OutOfSteps, OutOfTime, SimLoop
from services.runtime.sim.ready_queue import SimTask, StepOrder
from services.runtime.sim.trace import Trace

pytestmark = pytest.mark.sim

A, B = NodeName("a"), NodeName("b")


@pytest.fixture(params=list(StepOrder))
def loop(request: pytest.FixtureRequest) -> Iterator[SimLoop]:
    with SimLoop(11, order=request.param) as made:
        yield made


def spawn(loop: SimLoop, life: Incarnation | None, work: Coroutine[Any, Any, None]) -> None:
    loop.create_task(work, context=context_of(life))


# ---- time -------------------------------------------------------------------------------------


def test_time_jumps_and_costs_nothing(loop: SimLoop) -> None:
    async def main() -> float:
        await asyncio.sleep(86_400 * 30)
        return loop.time()

    before = time.monotonic()
    assert loop.run(main()) == pytest.approx(86_400 * 30, abs=0.001)
    assert loop.steps < 10
    assert time.monotonic() - before < 60


def test_each_step_is_a_microsecond_and_stamps_are_unique(loop: SimLoop) -> None:
    stamps: list[int] = []

    async def spin() -> None:
        for _ in range(50):
            stamps.append(loop.now_ns)
            await asyncio.sleep(0)

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(spin())

    loop.run(main())
    assert len(set(stamps)) == 200
    assert loop.now_ns == loop.steps * STEP_NS


def test_timers_come_by_time_then_age(loop: SimLoop) -> None:
    seen: list[int] = []

    async def main() -> None:
        for number, delay in enumerate((0.3, 0.1, 0.2)):
            loop.call_later(delay, seen.append, number)
        cancelled = loop.call_later(0.15, seen.append, 99)
        cancelled.cancel()
        await asyncio.sleep(1)

    loop.run(main())
    assert seen == [1, 2, 0]


def test_many_cancelled_timers_do_not_pile_up(loop: SimLoop) -> None:
    async def main() -> None:
        for _ in range(5_000):
            async with asyncio.timeout(1000):
                await asyncio.sleep(0)

    loop.run(main())
    assert len(loop._timers) < 300
    assert loop.time() < 1


def test_a_timer_that_ran_may_be_cancelled(loop: SimLoop) -> None:
    async def main() -> None:
        seen: list[int] = []
        timers = [loop.call_later(0.01, seen.append, number) for number in range(300)]
        await asyncio.sleep(1)
        for timer in timers:
            timer.cancel()
        await asyncio.sleep(1)
        assert sorted(seen) == list(range(300))

    loop.run(main())


def test_the_trace_knows_which_work_a_task_does() -> None:
    async def one() -> None: ...
    async def two() -> None: ...

    def hash_of(work: Callable[[], Coroutine[Any, Any, None]]) -> str:
        with SimLoop(1) as loop:
            loop.run(work())
            return loop.trace.hash()

    assert hash_of(one) == hash_of(one) != hash_of(two)


def test_run_again_goes_on_where_it_stood(loop: SimLoop) -> None:
    ticks: list[float] = []

    async def ticker() -> None:
        while True:
            await asyncio.sleep(1)
            ticks.append(loop.time())

    async def start() -> asyncio.Task[None]:
        return loop.create_task(ticker(), name="ticker")

    loop.run(start())
    assert ticks == []
    loop.run(asyncio.sleep(2.5))
    assert len(ticks) == 2
    loop.run(asyncio.sleep(1))
    assert len(ticks) == 3


# ---- asyncio on top ---------------------------------------------------------------------------


def test_asyncio_works_on_it(loop: SimLoop) -> None:
    async def slow() -> None:
        await asyncio.sleep(5)

    async def fails() -> None:
        await asyncio.sleep(1)
        raise ValueError("on purpose")

    async def main() -> list[str]:
        said: list[str] = []
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await slow()
        said.append(f"timeout at {loop.time():.1f}")
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(slow()) for _ in range(3)]
                group.create_task(fails())
        assert all(task.cancelled() for task in tasks)
        queue: asyncio.Queue[int] = asyncio.Queue(1)
        lock, event, room = asyncio.Lock(), asyncio.Event(), asyncio.Semaphore(1)
        condition = asyncio.Condition()

        async def produce() -> None:
            for number in range(3):
                await queue.put(number)
            event.set()
            async with condition:
                condition.notify_all()

        async def consume() -> None:
            async with lock, room:
                for _ in range(3):
                    said.append(str(await queue.get()))

        async with asyncio.TaskGroup() as group:
            group.create_task(consume())
            await asyncio.sleep(0.1)
            group.create_task(produce())
            async with condition:
                await condition.wait_for(event.is_set)
        task = asyncio.current_task()
        assert isinstance(task, SimTask) and hash(task) == task.serial
        return said

    assert loop.run(main()) == ["timeout at 2.0", "0", "1", "2"]


def test_it_serves_a_stock_runner() -> None:
    async def main() -> float:
        await asyncio.sleep(1000)
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=lambda: SimLoop(3)) as runner:
        assert runner.run(main()) >= 1000


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
def test_an_eager_task_runs_at_once(loop: SimLoop) -> None:
    async def quick() -> int:
        return 5

    async def main() -> int:
        task = loop.create_task(quick(), eager_start=True)
        assert task.done()
        return task.result()

    assert loop.run(main()) == 5


def test_another_task_factory_is_refused(loop: SimLoop) -> None:
    with pytest.raises(RuntimeError, match="its own tasks"):
        loop.set_task_factory(lambda *_: None)


def test_an_async_generator_left_behind_is_closed(loop: SimLoop) -> None:
    closed: list[str] = []

    async def numbers() -> Any:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            closed.append("closed")

    async def main() -> None:
        async for _ in numbers():
            break
        await asyncio.sleep(1)

    loop.run(main())
    assert closed == ["closed"]


def test_unhandled_exceptions_are_kept(loop: SimLoop) -> None:
    async def fails() -> None:
        raise ValueError("nobody asks for it")

    async def main() -> None:
        loop.create_task(fails())
        loop.call_soon(lambda: 1 / 0)
        await asyncio.sleep(1)

    loop.run(main())
    assert any("nobody asks for it" in line for line in loop.unhandled)
    assert any("ZeroDivisionError" in line for line in loop.unhandled)


def test_seeds_draw_their_order() -> None:
    drawn = [SimLoop(seed).order for seed in range(400)]
    assert 0.4 < drawn.count(StepOrder.RANDOM) / 400 < 0.6
    assert 0.18 < drawn.count(StepOrder.FIFO) / 400 < 0.32
    assert 0.18 < drawn.count(StepOrder.FEW) / 400 < 0.32


# ---- bounds -----------------------------------------------------------------------------------


def test_a_deadlock_is_found_and_names_who_waits(loop: SimLoop) -> None:
    async def stuck() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(stuck(), name="the-stuck-one")

    with pytest.raises(Deadlock, match=r"the-stuck-one at Event\.wait"):
        loop.run(main())


def test_a_dead_nodes_timers_do_not_keep_the_world_going(loop: SimLoop) -> None:
    life = Incarnation(A, 1)

    async def ticks() -> None:
        while True:
            await asyncio.sleep(300)

    async def main() -> None:
        spawn(loop, life, ticks())
        await asyncio.sleep(1)
        life.end(WayDown.CRASH)
        await asyncio.Event().wait()

    with pytest.raises(Deadlock):
        loop.run(main())
    assert loop.time() < 2


def test_the_limit_of_time(loop: SimLoop) -> None:
    async def for_ever() -> None:
        while True:
            await asyncio.sleep(7)

    with pytest.raises(OutOfTime):
        loop.run(for_ever(), seconds=100)
    assert loop.time() == pytest.approx(100, abs=1)


def test_a_spin_meets_the_limit_of_time_and_of_steps(loop: SimLoop) -> None:
    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(OutOfTime):
        loop.run(spin(), seconds=0.01)
    with pytest.raises(OutOfSteps):
        loop.run(spin(), steps=500)


# ---- ends of lives ----------------------------------------------------------------------------


@pytest.mark.slow
def test_an_ended_life_never_runs_again(loop: SimLoop) -> None:
    life, said = Incarnation(A, 1), []

    class Loud:
        def __del__(self) -> None:
            said.append("del")

    async def sleeper() -> None:
        loud = Loud()
        try:
            await asyncio.sleep(5)
        finally:
            said.append(f"finally {loud!r}")

    async def group() -> None:
        try:
            async with asyncio.timeout(3), asyncio.TaskGroup() as tasks:
                for _ in range(3):
                    tasks.create_task(sleeper())
        finally:
            said.append("finally of the group")

    async def never_begun() -> None:
        said.append("began")

    async def main() -> None:
        spawn(loop, life, group())
        await asyncio.sleep(1)
        task = loop.tasks()[-1]
        context_of(life).run(loop.call_later, 1, said.append, "callback")
        life.end(WayDown.CRASH)
        spawn(loop, life, never_begun())
        task.cancel()  # a cancellation does not reach it either
        await asyncio.sleep(100)

    loop.run(main())
    gc.collect()
    loop.close()
    gc.collect()
    assert said == []


def test_a_life_that_ends_in_its_own_step_does_not_resume(loop: SimLoop) -> None:
    life, said = Incarnation(A, 1), []

    async def suicide() -> None:
        try:
            assert CURRENT.get() is life
            life.end(WayDown.POWER_LOSS)
            await asyncio.sleep(0)
            said.append("went on")
        finally:
            said.append("finally")

    async def main() -> None:
        spawn(loop, life, suicide())
        await asyncio.sleep(1)

    loop.run(main())
    gc.collect()
    assert said == []


def test_a_dead_task_leaves_no_sound_even_at_the_end_of_the_process() -> None:
    text = """
import asyncio
from services.runtime.incarnation import Incarnation, WayDown, context_of
from services.runtime.sim.loop import SimLoop
life = Incarnation("a", 1)
async def dies():
    try:
        await asyncio.sleep(9)
    finally:
        print("finally")
async def never():
    print("began")
async def main(loop):
    loop.create_task(dies(), context=context_of(life))
    await asyncio.sleep(1)
    loop.create_task(never(), context=context_of(life))
    loop.create_task(dies())
    life.end(WayDown.CRASH)
    await asyncio.sleep(1)
loop = SimLoop(1)
loop.run(main(loop))
loop.close()
del loop
print("done")
"""
    root = os.getcwd()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", text],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("done\n", "", 0)


def test_the_living_go_on_when_another_dies(loop: SimLoop) -> None:
    lives = {A: Incarnation(A, 1), B: Incarnation(B, 1)}
    ticks = {A: 0, B: 0}

    async def ticker(node: NodeName) -> None:
        while True:
            await asyncio.sleep(0.1)
            ticks[node] += 1

    async def main() -> None:
        for node, life in lives.items():
            spawn(loop, life, ticker(node))
        await asyncio.sleep(1.05)
        lives[A].end(WayDown.CRASH)
        await asyncio.sleep(1)

    loop.run(main())
    assert ticks == {A: 10, B: 20}


# ---- pauses -----------------------------------------------------------------------------------


def test_a_paused_node_stands_still_and_then_goes_on(loop: SimLoop) -> None:
    life, stamps = Incarnation(A, 1), []

    async def ticker() -> None:
        while True:
            await asyncio.sleep(0.1)
            stamps.append(loop.time())

    async def main() -> None:
        spawn(loop, life, ticker())
        await asyncio.sleep(1.05)
        loop.pause(A)
        assert loop.paused(A)
        await asyncio.sleep(5)
        assert len(stamps) == 10
        loop.resume(A)
        assert not loop.paused(A)
        await asyncio.sleep(0.55)

    loop.run(main())
    assert len(stamps) == 16
    assert stamps[10] >= 6.05


def test_parked_steps_keep_their_order() -> None:
    with SimLoop(1, order=StepOrder.FIFO) as loop:
        life = Incarnation(A, 1)
        seen: list[int] = []

        async def main() -> None:
            loop.pause(A)
            for number in range(20):
                loop.call_later(
                    0.001 * (20 - number), seen.append, number, context=context_of(life)
                )
            await asyncio.sleep(1)
            assert seen == []
            loop.resume(A)
            await asyncio.sleep(1)

        loop.run(main())
        assert seen == list(reversed(range(20)))


def test_a_node_that_crashes_while_paused_stays_dead(loop: SimLoop) -> None:
    life = Incarnation(A, 1)
    seen: list[int] = []

    async def main() -> None:
        loop.pause(A)
        loop.call_soon(seen.append, 1, context=context_of(life))
        await asyncio.sleep(1)
        life.end(WayDown.CRASH)
        loop.resume(A)
        await asyncio.sleep(1)

    loop.run(main())
    assert seen == []


# ---- the rest ----------------------------------------------------------------------------------


def test_a_forked_child_goes_on_alone() -> None:
    """A snapshot: the child has the whole simulation and its own future."""
    with SimLoop(1) as loop:

        async def main() -> int:
            await asyncio.sleep(1)
            pid = os.fork()
            if pid == 0:
                loop.become_running_loop()
                try:
                    async with asyncio.timeout(5):
                        await asyncio.sleep(2)
                    os._exit(42 if loop.time() > 3 else 1)
                finally:
                    os._exit(2)
            return pid

        pid = loop.run(main())
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 42


def test_context_of_leaves_the_callers_context_alone() -> None:
    life = Incarnation(A, 1)
    context = copy_context()
    assert context_of(life).get(CURRENT) is life
    assert context_of(None).get(CURRENT) is None
    assert context.get(CURRENT) is CURRENT.get()


def test_names_of_tasks_do_not_come_from_the_process() -> None:
    def names() -> list[str]:
        async def nothing() -> None: ...

        async def main() -> list[str]:
            running = asyncio.get_running_loop()
            return [running.create_task(nothing()).get_name() for _ in range(3)]

        with SimLoop(1, trace=Trace()) as fresh:
            return fresh.run(main())

    assert names() == names() == ["sim-2", "sim-3", "sim-4"]


def test_a_loop_alone_keeps_its_tasks(loop: SimLoop) -> None:
    """In asyncio's set of all tasks those of a thousand ended loops would slow down the next."""

    async def main() -> set[asyncio.Task[Any]]:
        left = loop.create_task(asyncio.sleep(1.0))
        await asyncio.sleep(0.5)
        assert not left.done()
        return asyncio.all_tasks(loop)

    assert loop.run(main()) == set()
