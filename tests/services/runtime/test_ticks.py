"""Ticks: never early, no drift, no pile; and those of a clock with slots share their moments."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.runtime.ports import Clock
from services.runtime.ticks import Ticks


class Hand(Clock):
    """A clock that is moved by sleeping, and by hand."""

    def __init__(self, at: float) -> None:
        self.at = at

    def now(self) -> float:
        raise NotImplementedError

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.at += seconds

    def every(self, period_s: float, jitter_s: float = 0.0) -> AsyncIterator[int]:
        raise NotImplementedError

    def limit(self, seconds: float) -> float:
        raise NotImplementedError

    def timeout(self, seconds: float) -> Any:
        raise NotImplementedError

    def alarm(self, *args: Any, **options: Any) -> Any:
        raise NotImplementedError


async def moments(ticks: Ticks, clock: Hand, count: int) -> list[float]:
    return [clock.at for _ in range(count) if await anext(ticks)]


@pytest.mark.parametrize("jitter_s", [0.0, 1.0])
@pytest.mark.parametrize("begin", [0.0, 0.49, 12.3])
async def test_ticks_of_one_slot_come_together_and_as_often(begin: float, jitter_s: float) -> None:
    clock = Hand(begin)
    ticks = Ticks(clock, 10.0, jitter_s, random.Random(1), slot_s=2.5)
    found = await moments(ticks, clock, 200)
    assert all(at % 2.5 == pytest.approx(0.0) for at in found)
    for number, at in enumerate(found, 1):
        due = begin + 10.0 * number
        assert due <= at < due + jitter_s + 2.5


async def test_a_period_shorter_than_four_slots_has_none() -> None:
    clock = Hand(0.3)
    found = await moments(Ticks(clock, 7.0, 0.0, random.Random(1), slot_s=2.0), clock, 3)
    assert found == pytest.approx([7.3, 14.3, 21.3])


async def test_missed_ticks_do_not_pile_up() -> None:
    clock = Hand(0.0)
    ticks = Ticks(clock, 10.0, 0.0, random.Random(1), slot_s=1.0)
    await anext(ticks)
    clock.at = 57.5
    await anext(ticks)
    assert clock.at == 57.5
    await anext(ticks)
    assert clock.at == 67.0
