"""Hosts that wait for a pass of step B8, and events that are told once per boot."""

from __future__ import annotations

import asyncio

from services.vcenter.events import OncePerBoot
from services.vcenter.hosts.pass_queue import PassOrder, PassQueue
from tests.services.vcenter.rig import A, B


async def taken(queue: PassQueue) -> PassOrder | None:
    """The next order if there is one now."""
    try:
        async with asyncio.timeout(0):
            return await queue.take()
    except TimeoutError:
        return None


async def test_several_asks_are_one_and_the_oldest_comes_first() -> None:
    queue = PassQueue()
    queue.want(B)
    queue.want(A)
    queue.want(B)
    assert [await taken(queue), await taken(queue)] == [PassOrder(B, True), PassOrder(A, True)]
    assert await taken(queue) is None


async def test_a_view_that_has_just_come_need_not_be_asked_for() -> None:
    queue = PassQueue()
    queue.want(A, looked=True)
    assert await taken(queue) == PassOrder(A, False)
    queue.end_pass(A, whole=True)
    for asks in ((True, False), (False, True)):  # somebody wants it looked at
        for looked in asks:
            queue.want(A, looked=looked)
        assert await taken(queue) == PassOrder(A, True)
        queue.end_pass(A, whole=True)


async def test_a_host_has_one_pass_at_a_time_and_then_the_next() -> None:
    queue = PassQueue()
    queue.want(A)
    assert await taken(queue) is not None
    queue.want(A)
    assert await taken(queue) is None
    waiting = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.end_pass(A, whole=True)
    async with asyncio.timeout(1):
        assert (await waiting).host == A


async def test_what_was_cut_short_is_remembered_until_a_pass_begins() -> None:
    queue = PassQueue()
    queue.want(A)
    assert await taken(queue) is not None
    queue.begin_pass(A)
    queue.cut_short(A)
    queue.end_pass(A, whole=False)
    assert queue.unfinished(A) and not queue.unfinished(B)
    queue.begin_pass(A)
    assert not queue.unfinished(A)


async def test_whole_waits_for_a_pass_that_came_to_its_end() -> None:
    queue = PassQueue()
    waiting = asyncio.create_task(queue.whole(A))
    for whole in (False, True):
        queue.want(A)
        assert await taken(queue) is not None
        await asyncio.sleep(0)
        assert not waiting.done()
        queue.end_pass(A, whole=whole)
    async with asyncio.timeout(1):
        await waiting
        await queue.whole(A)


async def test_the_pass_of_a_host_that_was_removed_says_nothing_of_its_successor() -> None:
    queue = PassQueue()
    queue.want(A)
    assert await taken(queue) is not None
    queue.forget(A)
    waiting = asyncio.create_task(queue.whole(A))
    await asyncio.sleep(0)
    queue.end_pass(A, whole=True)
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()


def test_once_per_boot() -> None:
    told = OncePerBoot()
    assert told.first(A, 1, "mode", "x")
    assert not told.first(A, 1, "mode", "x")
    assert told.first(A, 1, "mode", "y") and told.first(A, 1, "send") and told.first(B, 1, "send")
    told.over(A, "mode")
    assert told.first(A, 1, "mode", "x") and not told.first(A, 1, "send")
    assert told.first(A, 2, "send") and not told.first(A, 2, "send")
    told.forget(A)
    assert told.first(A, 2, "send")


async def test_a_pass_that_lost_something_on_its_way_is_not_whole() -> None:
    """It came to its end, but a key that was sent beside it did not arrive."""
    queue = PassQueue()
    queue.want(A)
    assert await taken(queue) is not None
    queue.begin_pass(A)
    queue.cut_short(A)
    queue.end_pass(A, whole=True)
    waiting = asyncio.create_task(queue.whole(A))
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
