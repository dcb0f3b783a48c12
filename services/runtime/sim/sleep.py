"""How a task lets virtual time pass."""

from __future__ import annotations

import asyncio

from services.runtime.sim.loop import SimLoop


async def sleep(loop: SimLoop, seconds: float) -> None:
    """``asyncio.sleep`` without what a loop of one's own need not do: most of a simulation's
    steps are sleeps."""
    ns = round(seconds * 1e9)
    if ns <= 0:
        await asyncio.sleep(0)
        return
    future: asyncio.Future[None] = asyncio.Future(loop=loop)
    timer = loop.call_at_ns(loop.now_ns + ns, _wake, future)
    try:
        await future
    except BaseException:
        timer.cancel()
        raise


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
