"""The event loop of the simulation: virtual time, one ready queue, an order drawn from the seed.

Time is an integer of nanoseconds. Each step takes 1 us, so that an endless ``sleep(0)`` ends
somewhere; when nothing is ready, time jumps to the next timer.

Steps belong to the incarnation in their context (``incarnation.CURRENT``). Steps of an ended
incarnation never run: a crash is not a cancellation, no ``finally`` runs. Steps of a paused node
are parked until it resumes.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextvars import Context, copy_context
from heapq import heapify, heappop, heappush
from typing import Any, TypeVar, TypeVarTuple

from protocol.terms import NodeName
from services.runtime.incarnation import CURRENT, Incarnation
from services.runtime.seeded import derive, stream
from services.runtime.sim.ready_queue import (
    LivingTasks,
    ReadyQueue,
    SimHandle,
    SimTask,
    SimTimer,
    Step,
    StepOrder,
    describe_place,
    leak,
)
from services.runtime.sim.trace import Trace
from services.runtime.sim.wall import WalledLoop, guard_thread

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

STEP_NS = 1_000
_EPOCH = 1_767_225_600  # 2026-01-01, Unix seconds; a seed adds up to a year
_FLUSH_EVERY = 4096
_CLEAN_AT = 256  # as many timers, before cancelled ones are removed

_Timer = tuple[int, int, SimTimer | asyncio.Future[None], Incarnation | None]
"""When it is due, its serial number, the handle or future, and the life that it belongs to."""


class Deadlock(Exception):
    """Nothing is ready and no timer is set, but the run is not done."""


class OutOfTime(Exception):
    """The run reached its limit of virtual seconds."""


class OutOfSteps(Exception):
    """The run reached its limit of steps: some task does not stop running."""


class SimLoop(WalledLoop):
    """One per simulation; ``run`` it again and again (between calls time stands still), then
    ``close`` it, or leave its ``with`` block.

    ``escapes``    attempts to reach the real world; when not empty, the run is void (exit 5)
    ``unhandled``  exceptions that nobody took, as text; a failed check at the end
    ``order``      the order policy that the seed drew (or that was given)
    ``epoch``      Unix seconds at virtual time 0, drawn from the seed
    ``steps``      steps run so far
    """

    def __init__(
        self, seed: int, *, trace: Trace | None = None, order: StepOrder | None = None
    ) -> None:
        super().__init__()
        self.seed = seed
        self.trace = Trace() if trace is None else trace
        self.steps = 0
        self.epoch = _EPOCH + derive(seed, "epoch") % (365 * 86_400)
        self._wanted = order
        self._draw_order()
        self._timers: list[_Timer] = []
        self._clean_at = _CLEAN_AT
        self._now = 0
        self._serial = 0
        self._living = LivingTasks()
        self._task_serial = 0
        self._parked: dict[NodeName, list[Step]] = {}
        self._running = self._closed = self._stopping = False

    def _draw_order(self) -> None:
        """Draw the order policy. No step may be ready."""
        queue = ReadyQueue(stream(self.seed, "order"), self._wanted)
        self.order, self._ready, self._pick = queue.order, queue.steps, queue.pick

    def reseed(self, seed: int, order: StepOrder | None = None) -> None:
        """Between two runs: draw the order from another seed from now on. Time, epoch, ready steps
        and timers stay as they are. ``order``, when given, takes the place of the drawn one. The
        trace records the call and its arguments."""
        if self._running:
            raise RuntimeError("the loop runs")
        ready, self.seed, self._wanted = list(self._ready), seed, order or self._wanted
        self._draw_order()
        self._ready.extend(ready)
        self.trace.add(self._now, "", 0, "seed", seed)

    # ---- time -----------------------------------------------------------------------------

    def time(self) -> float:
        """Virtual seconds since the simulation began."""
        return self._now / 1e9

    @property
    def now_ns(self) -> int:
        """Virtual nanoseconds since the simulation began."""
        return self._now

    # ---- scheduling -------------------------------------------------------------------------

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> Any:
        """A ``SimHandle`` instead of an ``asyncio.Handle``: this is the loop's hottest line."""
        self._serial = serial = self._serial + 1
        handle = SimHandle(callback, args, copy_context() if context is None else context, serial)
        self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Any = None
    ) -> Any:
        return self.call_at_ns(self._now + round(delay * 1e9), callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Any = None
    ) -> Any:
        return self.call_at_ns(round(when * 1e9), callback, *args, context=context)

    def call_at_ns(
        self,
        due: int,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> SimTimer:
        """``call_at`` in virtual nanoseconds. Timers of one instant become ready in order."""
        self._serial = serial = self._serial + 1
        if context is None:
            context = copy_context()
        timer = SimTimer(callback, args, context, serial, due=due)
        self._add_timer((due, serial, timer, context.get(CURRENT)))
        return timer

    def sleep_future(self, seconds: float) -> asyncio.Future[None]:
        """A future that is done after ``seconds`` virtual seconds; a sleep awaits it.

        Unlike the timer of ``asyncio.sleep`` it is not a step of its own, and most steps are
        sleeps.
        """
        self._serial = serial = self._serial + 1
        done: asyncio.Future[None] = asyncio.Future(loop=self)
        self._add_timer((self._now + round(seconds * 1e9), serial, done, CURRENT.get()))
        return done

    def _add_timer(self, timer: _Timer) -> None:
        """Add a timer. Cancelled timers stay until they are due, or are as many as the others."""
        if len(self._timers) >= self._clean_at:
            self._timers[:] = [timer for timer in self._timers if not timer[2].cancelled()]
            heapify(self._timers)
            self._clean_at = max(_CLEAN_AT, 2 * len(self._timers))
        heappush(self._timers, timer)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        name: object = None,
        context: Context | None = None,
        **options: Any,
    ) -> asyncio.Task[T]:
        """A ``SimTask``, named ``sim-<serial>`` if it has no name. The loop keeps it alive until it
        is done."""
        self._task_serial = serial = self._task_serial + 1
        life = CURRENT.get() if context is None else context.get(CURRENT)
        task = SimTask(
            coro,  # type: ignore[arg-type]
            loop=self,
            serial=serial,
            life=life,
            name=f"sim-{serial}" if name is None else str(name),
            context=context,
            **options,
        )
        node, boot = ("", 0) if life is None else (life.node, life.boot)
        self.trace.add(self._now, node, boot, f"task {getattr(coro, '__qualname__', '')}", serial)
        self._living.add(task)
        return task

    def tasks(self) -> list[SimTask]:
        """Tasks of living nodes that are not done, oldest first."""
        return self._living.sweep()

    # ---- nodes ------------------------------------------------------------------------------

    def pause(self, node: NodeName) -> None:
        """Park every step of ``node`` from now on. Its timers continue, so its steps are late after
        a resume."""
        self._parked.setdefault(node, [])

    def resume(self, node: NodeName) -> None:
        """Make the parked steps ready, in order. No change when the node is not paused."""
        self._ready.extend(self._parked.pop(node, ()))

    def paused(self, node: NodeName) -> bool:
        return node in self._parked

    # ---- running ----------------------------------------------------------------------------

    def run(
        self,
        main: Coroutine[Any, Any, T] | asyncio.Future[T],
        *,
        seconds: float | None = None,
        steps: int | None = None,
    ) -> T:
        """Run until ``main`` is done and return its result; other tasks stay where they are.

        ``seconds`` (virtual) and ``steps`` bound this call: ``OutOfTime``, ``OutOfSteps``.
        ``Deadlock`` when no step can ever become ready. All three name the waiting tasks.
        """
        future: asyncio.Future[T] = (
            main if isinstance(main, asyncio.Future) else self.create_task(main, name="main")
        )
        end = None if seconds is None else self._now + round(seconds * 1e9)
        self._run_steps(future.done, end, None if steps is None else self.steps + steps)
        return future.result()

    def run_until_complete(self, future: Generator[Any, None, T] | Awaitable[T]) -> T:
        """For ``asyncio.Runner``; see ``run``."""
        return self.run(future)  # type: ignore[arg-type]

    def run_forever(self) -> None:
        """Run until ``stop()``; ``Deadlock`` when no step can ever become ready."""
        self._stopping = False
        self._run_steps(lambda: self._stopping, None, None)

    def stop(self) -> None:
        self._stopping = True

    def _run_steps(self, done: Callable[[], bool], end: int | None, last: int | None) -> None:
        if self._closed:
            raise RuntimeError("the simulation's loop is closed")
        if asyncio.events._get_running_loop() is not None:
            raise RuntimeError("another event loop runs in this thread")
        collecting = gc.isenabled()
        hooks = sys.get_asyncgen_hooks()
        gc.disable()  # finalisers would run at moments that depend on earlier allocations
        sys.set_asyncgen_hooks(firstiter=None, finalizer=self._close_asyncgen)
        asyncio.events._set_running_loop(self)
        self._running = True
        try:
            with guard_thread(self.escapes):
                self._run_hot_loop(done, end, last)
        finally:
            self._running = False
            asyncio.events._set_running_loop(None)
            sys.set_asyncgen_hooks(*hooks)
            self._living.sweep()
            self.trace.flush()
            if collecting:
                gc.enable()

    def _run_hot_loop(self, done: Callable[[], bool], end: int | None, last: int | None) -> None:
        """The hot loop; everything that it uses at each step is a local variable."""
        trace, current, parked, pick = self.trace, CURRENT, self._parked, self._pick
        note, ready, timers = trace.pending.append, self._ready, self._timers
        while not done():
            if timers and timers[0][0] <= self._now:
                self._move_due_timers()
            if not ready:
                self._advance_time(end)
                continue
            step = pick()
            if step._cancelled:
                continue
            life = step._context.get(current)
            if life is None:
                node, boot = "", 0
            elif life.ended is not None:
                leak((step,))
                continue
            else:
                node, boot = life.node, life.boot
                if parked and node in parked:
                    parked[node].append(step)
                    continue
            self._now = now = self._now + STEP_NS
            self.steps += 1
            note((now, node, boot, "step", (step.serial,)))
            if not self.steps % _FLUSH_EVERY:
                trace.flush()
            try:
                step._context.run(step._callback, *step._args)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:
                self.call_exception_handler(
                    {"message": "exception in a callback", "exception": error, "handle": step}
                )
            if end is not None and self._now > end and not done():
                raise OutOfTime(f"the limit of virtual time is over: {self._describe_waiting()}")
            if last is not None and self.steps >= last and not done():
                raise OutOfSteps(f"the limit of steps is over: {self._describe_waiting()}")

    def _move_due_timers(self) -> None:
        """Move the due timers into the ready queue, by time and then by age."""
        timers, ready, now = self._timers, self._ready, self._now
        while timers and timers[0][0] <= now:
            timer = heappop(timers)[2]
            if isinstance(timer, SimTimer):
                if not timer._cancelled:
                    ready.append(timer)
            elif not timer.done():
                timer.set_result(None)

    def _advance_time(self, end: int | None) -> None:
        """Nothing is ready: advance to the next timer of a life that has not ended."""
        timers = self._timers
        while timers:
            due, _, timer, life = timers[0]
            if not timer.cancelled():
                if life is None or life.ended is None:
                    if end is not None and due > end:
                        self._now = max(self._now, end)
                        raise OutOfTime(
                            f"the limit of virtual time is over: {self._describe_waiting()}"
                        )
                    self._now = max(self._now, due)
                    return
                leak((timer,))
            heappop(timers)
        raise Deadlock(f"nothing is ready and no timer is set: {self._describe_waiting()}")

    def _describe_waiting(self) -> str:
        """Describe the waiting tasks and where they wait."""
        lines = [f"{task.get_name()} at {describe_place(task)}" for task in self.tasks()]
        paused = f"; paused: {', '.join(sorted(self._parked))}" if self._parked else ""
        more = f" and {len(lines) - 20} more" if len(lines) > 20 else ""
        return f"t={self.time():.6f} s, waiting: {'; '.join(lines[:20]) or 'nobody'}{more}{paused}"

    # ---- ends -------------------------------------------------------------------------------

    def _close_asyncgen(self, generator: AsyncGenerator[Any, Any]) -> None:
        """An async generator was dropped half-way: close it as asyncio does, unless its life has
        ended."""
        life = CURRENT.get()
        if life is not None and life.ended is not None:
            leak([generator])
        else:
            self.create_task(generator.aclose(), name="aclose")

    def bury(self) -> None:
        """Make everything unfinished unreachable for good, as for a node that died.

        One reference to each object is leaked, because freeing a coroutine runs its ``finally``
        blocks.
        """
        self._living.bury()
        leak(self._ready)
        leak(entry[2] for entry in self._timers)
        for parked in self._parked.values():
            leak(parked)
        for queue in (self._ready, self._timers, self._parked):
            queue.clear()

    def become_running_loop(self) -> None:
        """In a child forked from inside a step: make this loop the running one."""
        asyncio.events._set_running_loop(self)

    def close(self) -> None:
        """Bury what is left; the loop cannot run any more."""
        if self._running:
            raise RuntimeError("the loop runs")
        if not self._closed:
            self._closed = True
            self.bury()

    def __enter__(self) -> SimLoop:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def is_closed(self) -> bool:
        return self._closed

    def is_running(self) -> bool:
        return self._running
