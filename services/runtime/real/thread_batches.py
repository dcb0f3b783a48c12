"""Batches of work for threads: the jobs of one step of the loop go to a thread together, and their
results come back together.

Waking a thread, and the loop again, costs more than writing a block. Guests whose ticks share a
wake-up write in the same step. Each write is synced separately, one after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from services.runtime.incarnation import NodeDown

MOST: Final = 8
"""Jobs that one thread runs in a row. More would make the last ones wait for the disk."""

_Work = Callable[[], Any]
_Outcome = tuple[Any, BaseException | None]


class ThreadBatches:
    """The jobs that wait for the end of this step of the loop."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._waiting: list[tuple[_Work, asyncio.Future[Any], Callable[[Future[Any]], None]]] = []

    async def run(self, work: _Work, begun: Callable[[Future[Any]], None]) -> Any:
        """The result of ``work``, or its exception. ``begun`` is called with a future that is done
        when the thread is."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._submit, loop)
        answer: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((work, answer, begun))
        return await answer

    def _submit(self, loop: asyncio.AbstractEventLoop) -> None:
        waiting, self._waiting = self._waiting, []
        for at in range(0, len(waiting), MOST):
            works, answers, begun = zip(*waiting[at : at + MOST], strict=True)
            thread = self._pool.submit(_run_in_a_row, loop, works, answers)
            for notify in begun:
                notify(thread)


def _run_in_a_row(
    loop: asyncio.AbstractEventLoop,
    works: Sequence[_Work],
    answers: Sequence[asyncio.Future[Any]],
) -> None:
    outcomes = [_run_one(work) for work in works]
    if not loop.is_closed():
        loop.call_soon_threadsafe(_set_results, answers, outcomes)


def _run_one(work: _Work) -> _Outcome:
    try:
        return work(), None
    except (Exception, NodeDown) as error:
        return None, error


def _set_results(answers: Sequence[asyncio.Future[Any]], outcomes: Sequence[_Outcome]) -> None:
    for answer, (value, error) in zip(answers, outcomes, strict=True):
        if answer.done():  # the caller has been cancelled
            continue
        if error is None:
            answer.set_result(value)
        else:
            answer.set_exception(error)
