"""Ticks of a clock: what ``Clock.every`` gives, the same in both drivers."""

from __future__ import annotations

from services.runtime.ports import Choices, Clock


class Ticks:
    """Yields 1, 2, ... at each period of lab seconds, and up to ``jitter`` more.

    An iterator and not a generator: left behind, it needs no ``aclose`` to be scheduled.
    """

    def __init__(self, clock: Clock, period: float, jitter: float, draw: Choices) -> None:
        if period <= 0:
            raise ValueError(f"a period of {period:g} s would never let time pass")
        self._clock, self._period, self._jitter, self._draw = clock, period, jitter, draw
        self._ticks = 0
        self._due = clock.monotonic() + period

    def __aiter__(self) -> Ticks:
        return self

    async def __anext__(self) -> int:
        wait = self._due - self._clock.monotonic()
        if self._jitter > 0:
            wait += self._draw.uniform(0.0, self._jitter)
        await self._clock.sleep(max(0.0, wait))
        self._ticks += 1
        # After a slow body the grid starts anew from here: missed ticks do not pile up.
        self._due = max(self._due, self._clock.monotonic() - self._jitter) + self._period
        return self._ticks
