"""How a port runs a device's blocking calls: in a small pool of threads, or inline.

``PoolRunner`` is for the lab, one per process for all its TPMs: commands release the interpreter
while the engine works, so 2 to 8 threads use the cores and do not delay the loop. ``InlineRunner``
is for the simulation: the call runs at once, then its time is charged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from protocol.tpm.errors import TpmError
from services.runtime.tpm.latency import LATENCY_S
from services.runtime.tpm.port import Runner

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[object]]
"""Waits for so many lab seconds."""

THREADS: Final = 4


class PoolRunner(Runner):
    """Runs calls in a pool that is created at the first call, so not before a fork."""

    def __init__(self, sleep: Sleep = asyncio.sleep, threads: int = THREADS) -> None:
        self._sleep = sleep
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None

    async def run(self, label: str, work: Callable[[], T]) -> T:
        """Run ``work`` in a thread. If the caller is cancelled, work that began still ends."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="tpm")
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def pause(self, seconds: float) -> None:
        await self._sleep(seconds)

    def close(self) -> None:
        """Wait for the calls in progress and end the threads."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


class InlineRunner(Runner):
    """Runs the work at once and then sleeps ``latency_s`` of its label, also after a refusal."""

    def __init__(
        self, sleep: Sleep, latency_s: Callable[[str], float] = LATENCY_S.__getitem__
    ) -> None:
        self._sleep = sleep
        self._latency_s = latency_s

    async def run(self, label: str, work: Callable[[], T]) -> T:
        try:
            result = work()
        except TpmError:
            await self._sleep(self._latency_s(label))
            raise
        await self._sleep(self._latency_s(label))
        return result

    async def pause(self, seconds: float) -> None:
        await self._sleep(seconds)
