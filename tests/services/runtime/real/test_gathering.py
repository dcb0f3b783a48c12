"""Works that are given in one step of the loop share a thread's waking, and fare apart."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any

import pytest

from services.runtime.incarnation import NodeDown
from services.runtime.real.datastore import MOST, ThreadBatches


class Counting(ThreadPoolExecutor):
    """How often a thread was asked for something."""

    asked = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        self.asked += 1
        return super().submit(fn, *args, **options)


@pytest.fixture
def pool() -> Iterator[Counting]:
    made = Counting(2)
    yield made
    made.shutdown()


async def test_works_of_one_step_go_together_and_each_has_its_own_outcome(pool: Counting) -> None:
    gathering, begun = ThreadBatches(pool), set[Future[Any]]()

    def refuse() -> None:
        raise OSError("no room")

    def fall() -> None:
        raise NodeDown("esxi-001")

    works: list[Callable[[], Any]] = [lambda: 1, refuse, fall, *([threading.get_ident] * MOST)]
    runs = [gathering.run(work, begun.add) for work in works]
    found = await asyncio.gather(*runs, return_exceptions=True)
    assert found[0] == 1
    assert isinstance(found[1], OSError) and isinstance(found[2], NodeDown)
    assert all(isinstance(ident, int) and ident != threading.get_ident() for ident in found[3:])
    assert pool.asked == len(begun) == 2
    assert not wait(begun, timeout=10).not_done


async def test_who_gave_up_keeps_nobody_else_from_its_outcome(pool: Counting) -> None:
    gathering, go = ThreadBatches(pool), threading.Event()
    first = asyncio.create_task(gathering.run(lambda: go.wait(10), lambda thread: None))
    second = asyncio.create_task(gathering.run(lambda: 2, lambda thread: None))
    for _ in range(3):
        await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    go.set()
    assert await second == 2
    assert first.cancelled()


async def test_the_next_step_is_another_gathering(pool: Counting) -> None:
    gathering = ThreadBatches(pool)
    for number in range(3):
        assert await gathering.run(partial(int, number), lambda _: None) == number
    assert pool.asked == 3
