"""Ticks of a clock for ``Clock.every``, the same in both drivers."""

from __future__ import annotations

import math

from services.runtime.ports import Choices, Clock


class Ticks:
    """Yields 1, 2, ... at each period of lab seconds, plus up to ``jitter_s``.

    ``slot_s`` is for a clock whose wake-ups are expensive: ticks of all nodes then come at
    multiples of ``slot_s`` lab seconds and share wake-ups. Each tick is late by less than one slot;
    the rate does not change. A period of less than four slots has no slots.

    This is an iterator, not a generator: an abandoned one needs no scheduled ``aclose``.
    """

    def __init__(
        self,
        clock: Clock,
        period_s: float,
        jitter_s: float,
        draw: Choices,
        *,
        slot_s: float = 0.0,
    ) -> None:
        if period_s <= 0:
            raise ValueError(f"a period of {period_s:g} s would never let time pass")
        self._clock, self._period_s, self._jitter_s, self._draw = clock, period_s, jitter_s, draw
        self._slot_s = slot_s if period_s >= 4 * slot_s else 0.0
        self._ticks = 0
        self._due = clock.monotonic() + period_s

    def __aiter__(self) -> Ticks:
        return self

    async def __anext__(self) -> int:
        at = self._due
        if self._jitter_s > 0:
            at += self._draw.uniform(0.0, self._jitter_s)
        if self._slot_s > 0:
            at = math.ceil(at / self._slot_s) * self._slot_s
        await self._clock.sleep(max(0.0, at - self._clock.monotonic()))
        self._ticks += 1
        # After a slow body the grid restarts here: missed ticks do not pile up.
        late_s = self._jitter_s + self._slot_s
        self._due = max(self._due, self._clock.monotonic() - late_s) + self._period_s
        return self._ticks
