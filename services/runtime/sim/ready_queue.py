"""What the simulation's loop runs (tasks with serial numbers, and handles) and the order in which
it runs ready steps: a policy per run, drawn from its seed.
"""

from __future__ import annotations

import asyncio
import ctypes
import random
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from contextvars import Context
from enum import StrEnum
from typing import Any

import msgspec

from services.runtime.incarnation import Incarnation

_SWEEP_AT = 1024  # as many tasks, before finished ones are removed


class SimTask(asyncio.Task[Any]):
    """A task whose hash is its serial number within its loop.

    The stock TaskGroup keeps its tasks in a set and cancels them in the set's order. Hashed by
    address, that order would differ from process to process. ``life`` is the life that the task
    belongs to.
    """

    def __init__(
        self,
        coro: Coroutine[Any, Any, Any],
        *,
        loop: asyncio.AbstractEventLoop,
        serial: int,
        life: Incarnation | None,
        name: str,
        context: Context | None,
        **options: Any,
    ) -> None:
        self.serial = serial  # first: registration inside hashes the task
        self.life = life
        super().__init__(coro, loop=loop, name=name, context=context, **options)
        # A loop keeps its own tasks. In asyncio's set of all tasks, those of ended loops would
        # stay, and have the hashes of later ones: each new task would be slower than the last.
        asyncio._unregister_task(self)

    def __hash__(self) -> int:
        return self.serial


class SimHandle(msgspec.Struct, eq=False):
    """A step: an ``asyncio.Handle`` in all but its class, because a struct is created faster.

    ``serial`` is the order in which steps and timers of the loop were created.
    """

    _callback: Callable[..., object]
    _args: tuple[Any, ...]
    _context: Context
    serial: int
    _cancelled: bool = False

    def cancel(self) -> None:
        """Do not run the step. The loop skips it; the references that it holds are dropped."""
        self._cancelled = True
        self._callback = self._args = None  # type: ignore[assignment]

    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self._cancelled


class SimTimer(SimHandle, eq=False, kw_only=True):
    """A step that is due at ``due`` virtual nanoseconds."""

    due: int

    def when(self) -> float:
        """Virtual seconds at which it is due."""
        return self.due / 1e9


Step = SimHandle | SimTimer


class LivingTasks:
    """The tasks of a loop that are not done, kept alive until they are."""

    def __init__(self) -> None:
        self._tasks: dict[int, SimTask] = {}
        self._sweep_at = _SWEEP_AT

    def add(self, task: SimTask) -> None:
        """Keep ``task``. The number of tasks alone decides when ``sweep`` runs first."""
        if len(self._tasks) >= self._sweep_at:
            self.sweep()
        self._tasks[task.serial] = task

    def sweep(self) -> list[SimTask]:
        """Forget finished tasks, and move those of ended lives out of reach of the garbage
        collector. Returns the others, oldest first."""
        living: dict[int, SimTask] = {}
        for serial, task in self._tasks.items():
            if task.done():
                continue
            if task.life is not None and task.life.ended is not None:
                leak((task,))
            else:
                living[serial] = task
        self._tasks = living
        self._sweep_at = max(_SWEEP_AT, 2 * len(living))
        return list(living.values())

    def bury(self) -> None:
        """Move all tasks out of reach, for good."""
        leak(self.sweep())
        self._tasks = {}


def describe_place(task: asyncio.Task[Any]) -> str:
    """The place at which a task waits, as ``function:line`` of its innermost coroutine."""
    coro: Any = task.get_coro()
    inner = getattr(coro, "cr_await", None)
    while inner is not None and hasattr(inner, "cr_frame"):
        coro, inner = inner, inner.cr_await
    frame = getattr(coro, "cr_frame", None)
    name = getattr(coro, "__qualname__", type(coro).__name__)
    return f"{name}:{frame.f_lineno}" if frame is not None else str(name)


def leak(things: Iterable[object]) -> None:
    """Leak one reference to each object, on purpose.

    Freeing a coroutine of a dead node runs its ``finally`` blocks, in a world to which it no longer
    belongs. Python has no other way to drop a coroutine, so it is never freed.
    """
    leak = ctypes.pythonapi.Py_IncRef
    for thing in things:
        leak(ctypes.py_object(thing))


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
