"""Ticks of a clock: what ``Clock.every`` gives, the same in both drivers."""

from __future__ import annotations

from services.runtime.ports import Choices, Clock


class Ticks:
    """Yields 1, 2, ... at each period of lab seconds, and up to ``jitter_s`` more.

    An iterator and not a generator: left behind, it needs no ``aclose`` to be scheduled.
    """

    def __init__(self, clock: Clock, period_s: float, jitter_s: float, draw: Choices) -> None:
        if period_s <= 0:
            raise ValueError(f"a period of {period_s:g} s would never let time pass")
        self._clock, self._period_s, self._jitter_s, self._draw = clock, period_s, jitter_s, draw
        self._ticks = 0
        self._due = clock.monotonic() + period_s

    def __aiter__(self) -> Ticks:
        return self

    async def __anext__(self) -> int:
        wait_s = self._due - self._clock.monotonic()
        if self._jitter_s > 0:
            wait_s += self._draw.uniform(0.0, self._jitter_s)
        await self._clock.sleep(max(0.0, wait_s))
        self._ticks += 1
        # After a slow body the grid starts anew from here: missed ticks do not pile up.
        self._due = max(self._due, self._clock.monotonic() - self._jitter_s) + self._period_s
        return self._ticks
