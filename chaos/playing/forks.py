"""Faults that are added to a run of the simulation that was played without them.

A task that waits for its time would be a step of its own from the begin of the phase on, and change
the order that the seed draws. So a forked fault is a timer until its time has come: the run is the
same up to there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Protocol

from chaos.experiment.plan import Plan, PlannedFault


class Timer(Protocol):
    """A call that comes later."""

    def cancel(self) -> None:
        """It does not come any more."""


Later = Callable[[float, Callable[[], object]], Timer]
"""Calls a function after so many lab seconds, and takes no step before."""


@asynccontextmanager
async def forked_faults(
    plan: Plan,
    later: Later | None,
    group: asyncio.TaskGroup,
    play: Callable[[PlannedFault], Coroutine[Any, Any, None]],
) -> AsyncIterator[list[asyncio.Task[None]]]:
    """The tasks of the forked faults, each from its time on, for the length of a block."""
    tasks: list[asyncio.Task[None]] = []

    def begin(planned: PlannedFault) -> None:
        tasks.append(group.create_task(play(planned), name=f"fault-{planned.id}"))

    timers = [later(one.at, partial(begin, one)) for one in plan.forks()] if later else []
    try:
        yield tasks
    finally:
        for timer in timers:
            timer.cancel()
