"""Heartbeats of many from one timer: each once in a period, none lost, evenly spread."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from services.vcenter.beats import SLOTS, Beat, Beats


class Steps:
    """A clock whose periods are passed by hand, and the node that runs what waits for them."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.labels: list[str] = []
        self._numbers: asyncio.Queue[int] = asyncio.Queue()
        self._passed = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def every(self, period_s: float, jitter_s: float = 0.0) -> AsyncIterator[int]:
        self.asked.append(period_s)
        while True:
            yield await self._numbers.get()

    def background(self, label: str, work: Coroutine[Any, Any, None]) -> None:
        self.labels.append(label)
        self._tasks.append(asyncio.create_task(work))

    async def step(self) -> None:
        self._passed += 1
        self._numbers.put_nowait(self._passed)
        for _ in range(3):
            await asyncio.sleep(0)


def made() -> tuple[Steps, Beats]:
    steps = Steps()
    return steps, Beats(steps, 10.0)  # type: ignore[arg-type]


async def ticked(beat: Beat) -> bool:
    try:
        async with asyncio.timeout(0):
            await beat.next()
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize("hosts", [1, 5, 8, 100])
async def test_each_ticks_once_in_a_period(hosts: int) -> None:
    steps, beats = made()
    all_of_them = [Beat() for _ in range(hosts)]
    for beat in all_of_them:
        beats.join(beat, steps)  # type: ignore[arg-type]
    assert steps.labels == ["heartbeats"]
    for _ in range(3):
        at_once: Counter[int] = Counter()
        seen: Counter[Beat] = Counter()
        for slot in range(SLOTS):
            await steps.step()
            for beat in all_of_them:
                if await ticked(beat):
                    seen[beat] += 1
                    at_once[slot] += 1
        assert set(seen.values()) == {1} and len(seen) == hosts
        assert max(at_once.values()) <= -(-hosts // SLOTS)
    assert steps.asked == [10.0 / SLOTS]


async def test_the_first_waits_a_whole_period_whenever_it_joins() -> None:
    steps, beats = made()
    for passed in range(3):
        beat = Beat()
        beats.join(beat, steps)  # type: ignore[arg-type]
        for _ in range(SLOTS - 1):
            await steps.step()
            assert not await ticked(beat), passed
        await steps.step()
        assert await ticked(beat)
        beats.leave(beat)
        await steps.step()


async def test_a_tick_that_is_asked_for_before_joining_is_not_lost() -> None:
    steps, beats = made()
    beat = Beat()
    beat.tick_now()
    beats.join(beat, steps)  # type: ignore[arg-type]
    assert await ticked(beat) and not await ticked(beat)


async def test_who_leaves_ticks_one_last_time() -> None:
    steps, beats = made()
    beat = Beat()
    beats.join(beat, steps)  # type: ignore[arg-type]
    beats.leave(beat)
    assert await ticked(beat)
    for _ in range(2 * SLOTS):
        await steps.step()
        assert not await ticked(beat)
    beats.leave(Beat())
