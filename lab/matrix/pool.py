"""Stagings several at a time, each in a process of its own that a thread waits for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from chaos.matrix.grid import Staging
from lab.matrix.outcome import Done, StagingOutcome


def each(
    stagings: Sequence[Staging],
    play: Callable[[Staging], StagingOutcome],
    done: Done,
    *,
    jobs: int,
    end: Callable[[], None],
) -> None:
    """``play`` each of them, ``jobs`` at a time; ``done`` hears of each, in this thread.

    Interrupted, it calls ``end``, which ends what is being played, and does not begin the rest.
    """

    def one(staging: Staging) -> StagingOutcome:
        try:
            return play(staging)
        except Exception as error:
            # Its lab was lost or never came up, or the play itself has a defect: the other
            # stagings say what they say all the same.
            return StagingOutcome.of_lost_lab(staging, f"{type(error).__name__}: {error}")

    with ThreadPoolExecutor(jobs) as pool:
        waiting = {pool.submit(one, staging): staging for staging in stagings}
        try:
            for future in as_completed(waiting):
                done(waiting[future], future.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            end()
            raise
