"""The same for each of many: bounded, in order, and with failures as the caller wants them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from protocol.errors import NotFound, TimedOut
from services.runtime.each import for_each, try_each, until_enough
from services.runtime.sim.loop import SimLoop


def in_simulation(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    for seed in range(5):
        with SimLoop(seed) as loop:
            loop.run_until_complete(body())


def test_outcomes_are_in_the_order_of_the_items_and_the_bound_holds() -> None:
    async def body() -> None:
        under_way: list[int] = []
        most = 0

        async def act(item: int) -> int:
            nonlocal most
            under_way.append(item)
            most = max(most, len(under_way))
            await asyncio.sleep((7 - item) * 0.1)
            under_way.remove(item)
            return item * item

        assert await for_each(range(7), act, at_once=3) == [0, 1, 4, 9, 16, 25, 36]
        assert most == 3
        assert await for_each(range(7), act) == [0, 1, 4, 9, 16, 25, 36]
        assert most == 7
        assert await for_each([], act) == []

    in_simulation(body)


def test_the_first_failure_is_raised_as_itself_and_ends_the_others() -> None:
    async def body() -> None:
        begun: list[int] = []
        cancelled: list[int] = []

        async def act(item: int) -> None:
            begun.append(item)
            if item == 1:
                await asyncio.sleep(0.1)
                raise NotFound("item 1")
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.append(item)
                raise

        with pytest.raises(NotFound, match="item 1"):
            await for_each(range(5), act, at_once=2)
        assert sorted(begun) == [0, 1]
        assert cancelled == [0]

    in_simulation(body)


def test_failures_that_are_outcomes_end_nothing() -> None:
    async def act(item: int) -> int:
        if item == 1:
            raise TimedOut("item 1")
        if item == 4:
            raise ZeroDivisionError
        return item

    async def body() -> None:
        outcomes = await try_each(range(3), act, at_once=1)
        assert [str(outcome) for outcome in outcomes] == ["0", "item 1", "2"]
        assert isinstance(outcomes[1], TimedOut)
        with pytest.raises(ZeroDivisionError):
            await try_each(range(5), act)

    in_simulation(body)


async def test_try_each_keeps_to_its_limit_too() -> None:
    under_way = most = 0

    async def act(item: int) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return item

    assert await try_each(range(7), act, at_once=2) == list(range(7))
    assert most == 2


def test_what_is_enough_waits_for_nobody_else() -> None:
    async def body() -> None:
        cancelled: list[int] = []

        async def act(item: int) -> int:
            if item == 1:
                raise TimedOut("item 1")
            try:
                await asyncio.sleep((5 - item) * 10.0)
            except asyncio.CancelledError:
                cancelled.append(item)
                raise
            return item * item

        begun = asyncio.get_running_loop().time()
        found = await until_enough(range(5), act, lambda found: len(found) == 2)
        assert found == {3: 9, 4: 16} and list(found) == [3, 4]
        assert asyncio.get_running_loop().time() - begun == pytest.approx(20.0)
        assert sorted(cancelled) == [0, 2]
        assert await until_enough(range(5), act, lambda found: len(found) == 5) == {
            0: 0,
            2: 4,
            3: 9,
            4: 16,
        }
        assert await until_enough((), act, lambda found: False) == {}
        assert await until_enough((1,), act, lambda found: False) == {}
        cancelled.clear()
        assert await until_enough(range(5), act, lambda found: True) == {}
        assert cancelled == []

    in_simulation(body)


def test_an_unexpected_failure_is_no_reason_to_wait() -> None:
    async def act(item: int) -> int:
        if item == 1:
            raise ZeroDivisionError
        await asyncio.sleep(1000)
        return item

    async def body() -> None:
        begun = asyncio.get_running_loop().time()
        with pytest.raises(ZeroDivisionError):
            await until_enough(range(3), act, lambda found: len(found) == 3)
        assert asyncio.get_running_loop().time() - begun < 1

    in_simulation(body)
