"""The order in which the loop runs ready steps: a policy per run, drawn from its seed.

FIFO 25 %, random 50 %, few preemptions 25 %. Whole runs differ in character: some bugs need one odd
moment in an orderly run, others need disorder throughout.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from enum import StrEnum

from services.runtime.sim.tasks import Step

_MEAN_GAP = 150  # steps between two preemptions, on average


class StepOrder(StrEnum):
    """How the next ready step is picked."""

    FIFO = "fifo"  # as asyncio does
    RANDOM = "random"  # any of them
    FEW = "few"  # first in, first out; sometimes the first step goes to the end


class ReadyQueue:
    """The loop appends to ``steps``; ``pick()`` takes the next step (it must not be empty)."""

    def __init__(self, rng: random.Random, order: StepOrder | None) -> None:
        # Drawn even when ``order`` is given, so that later draws stay the same.
        drawn = rng.random()
        if order is None:
            order = (
                StepOrder.FIFO
                if drawn < 0.25
                else StepOrder.RANDOM
                if drawn < 0.75
                else StepOrder.FEW
            )
        self.order = order
        self.steps: list[Step] | deque[Step]
        self.pick: Callable[[], Step]
        match order:
            case StepOrder.RANDOM:
                self.steps, self.pick = _build_random_pick(rng)
            case StepOrder.FIFO:
                queue: deque[Step] = deque()
                self.steps, self.pick = queue, queue.popleft
            case StepOrder.FEW:
                self.steps, self.pick = _build_few_pick(rng)


def _build_random_pick(rng: random.Random) -> tuple[list[Step], Callable[[], Step]]:
    steps: list[Step] = []
    draw, pop = rng.random, steps.pop

    def pick() -> Step:
        count = len(steps)
        if count > 1:
            index = int(draw() * count)
            steps[index], steps[-1] = steps[-1], steps[index]
        return pop()

    return steps, pick


def _build_few_pick(rng: random.Random) -> tuple[deque[Step], Callable[[], Step]]:
    steps: deque[Step] = deque()
    rotate, popleft = steps.rotate, steps.popleft

    def gap() -> int:
        return 1 + int(rng.expovariate(1 / _MEAN_GAP))

    left = gap()

    def pick() -> Step:
        nonlocal left
        left -= 1
        if left <= 0:
            left = gap()
            rotate(-1)
        return popleft()

    return steps, pick
