"""The end of a run broken: what could not be healed at first is not tried once more."""

from __future__ import annotations

import builtins
from typing import Any

import chaos.playing.intervals as intervals
from tests.mutations.bugs.planting import plant


def _once(original: Any) -> Any:
    async def heal_begun(*given: Any) -> Any:
        vars(intervals)["range"] = lambda tries: builtins.range(min(tries, 1))
        try:
            return await original(*given)
        finally:
            del vars(intervals)["range"]

    return heal_begun


plant(intervals.Intervals, "_heal_begun", _once)
