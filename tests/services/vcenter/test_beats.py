"""Heartbeats of many from few timers: each once in a period, none lost, many together."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from services.vcenter.timers import ROOM, SLOTS, Beats, BeatTicks

PERIOD_S = 8.0
PART_S = PERIOD_S / SLOTS


class Steps:
    """A clock whose time is passed by hand, and the node that runs what waits for it."""

    def __init__(self) -> None:
        self.labels: list[str] = []
        self._now = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._now + seconds, future))
        await future

    async def every(self, period_s: float, jitter_s: float = 0.0) -> AsyncIterator[int]:
        number = 0
        while True:
            await self.sleep(period_s)
            number += 1
            yield number

    def background(self, label: str, work: Coroutine[Any, Any, None]) -> None:
        self.labels.append(label)
        self._tasks.append(asyncio.create_task(work))

    async def step(self) -> None:
        """A part of the period passes."""
        for _ in range(3):
            await asyncio.sleep(0)
        self._now += PART_S
        for due, future in self._sleepers:
            if due <= self._now and not future.done():
                future.set_result(None)
        for _ in range(3):
            await asyncio.sleep(0)


def made() -> tuple[Steps, Beats]:
    steps = Steps()
    return steps, Beats(steps, PERIOD_S)  # type: ignore[arg-type]


async def ticked(beat: BeatTicks) -> bool:
    try:
        async with asyncio.timeout(0):
            await beat.next()
    except TimeoutError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("hosts", [1, 5, ROOM, ROOM + 1, 3 * ROOM, SLOTS * ROOM + 16])
async def test_each_ticks_once_in_a_period(hosts: int) -> None:
    steps, beats = made()
    all_of_them = [BeatTicks() for _ in range(hosts)]
    for beat in all_of_them:
        beats.join(beat, steps)  # type: ignore[arg-type]
    slots = min(SLOTS, -(-hosts // ROOM))
    assert steps.labels == ["heartbeats"] * slots
    for _ in range(3):
        at_once: Counter[int] = Counter()
        seen: Counter[BeatTicks] = Counter()
        for part in range(SLOTS):
            await steps.step()
            for beat in all_of_them:
                if await ticked(beat):
                    seen[beat] += 1
                    at_once[part] += 1
        assert set(seen.values()) == {1} and len(seen) == hosts
        assert len(at_once) == slots
        assert max(at_once.values()) <= max(ROOM, -(-hosts // SLOTS))


async def test_who_leaves_makes_room_for_the_next() -> None:
    steps, beats = made()
    first = [BeatTicks() for _ in range(ROOM)]
    for beat in first:
        beats.join(beat, steps)  # type: ignore[arg-type]
    beats.leave(first[0])
    beats.join(BeatTicks(), steps)  # type: ignore[arg-type]
    assert len(steps.labels) == 1
    beats.join(BeatTicks(), steps)  # type: ignore[arg-type]
    assert len(steps.labels) == 2


async def test_the_first_waits_a_whole_period_and_the_next_at_most_one() -> None:
    steps, beats = made()
    first, next_one = BeatTicks(), BeatTicks()
    beats.join(first, steps)  # type: ignore[arg-type]
    for _ in range(SLOTS - 1):
        await steps.step()
        assert not await ticked(first)
    beats.join(next_one, steps)  # type: ignore[arg-type]
    await steps.step()
    assert await ticked(first) and await ticked(next_one)


async def test_a_tick_that_is_asked_for_before_joining_is_not_lost() -> None:
    steps, beats = made()
    beat = BeatTicks()
    beat.tick_now()
    beats.join(beat, steps)  # type: ignore[arg-type]
    assert await ticked(beat) and not await ticked(beat)


async def test_who_leaves_ticks_one_last_time() -> None:
    steps, beats = made()
    beat = BeatTicks()
    beats.join(beat, steps)  # type: ignore[arg-type]
    beats.leave(beat)
    assert await ticked(beat)
    for _ in range(2 * SLOTS):
        await steps.step()
        assert not await ticked(beat)
    beats.leave(BeatTicks())
