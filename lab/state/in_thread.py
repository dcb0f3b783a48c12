"""Work that may block for ever, in a thread that is left behind when it is late.

A file on a mount that does not answer cannot be given up by the thread that waits for it. Threads
of asyncio's own pool are waited for when a process ends; these are not.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Final, TypeVar

T = TypeVar("T")

LEFT_AT_MOST: Final = 32
"""Threads of one process that may be left behind; no more work is begun meanwhile."""
_left: Final[set[threading.Thread]] = set()


async def in_thread(work: Callable[[], T], within_s: float) -> T:
    """What ``work()`` returns or raises; ``TimeoutError`` when it takes longer than ``within_s``
    real seconds, or when too many that were late are still waiting."""
    _left.difference_update([thread for thread in _left if not thread.is_alive()])
    if len(_left) >= LEFT_AT_MOST:
        raise TimeoutError
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:
            result.set_exception(error)
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(ended.set)

    thread = threading.Thread(target=run, name="may-block", daemon=True)
    thread.start()
    try:
        async with asyncio.timeout(within_s):
            await ended.wait()
    finally:
        if not ended.is_set():
            _left.add(thread)
    return result.result()
