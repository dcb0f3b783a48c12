"""A watchdog of an event loop: reports when the loop was blocked for over a second, and where, and
counts such blockages.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from selectors import EpollSelector, SelectorKey
from types import FrameType
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from protocol.messages.agent import NodeList

STOOD: Final = "loop_stood"
STOOD_MS: Final = "loop_stood_ms"
"""Counters of the first node of a process: how often its loop was blocked, and the longest time."""


class Blockage(NamedTuple):
    """One blockage. ``seconds``: how long the loop was blocked; so far, when it is not ``over``.
    ``where``: the innermost functions that blocked it, empty when they were not captured."""

    seconds: float
    where: str
    over: bool


@dataclass
class BlockageCounts:
    """How often a loop was blocked for over a second, and the longest time."""

    count: int = 0
    longest_s: float = 0.0
    where: str = ""
    """Where the loop was blocked the longest, when that is known."""

    def add(self, stand: Blockage) -> None:
        """Count a blockage that is over."""
        if stand.over:
            self.count += 1
            if stand.seconds > self.longest_s:
                self.longest_s, self.where = stand.seconds, stand.where

    def add_counts(self, reply: NodeList) -> NodeList:
        """Add these counts to the first node in a process's list of nodes."""
        if not self.count or not reply.nodes:
            return reply
        first, *others = reply.nodes
        counts = {STOOD: self.count, STOOD_MS: round(1000 * self.longest_s)}
        first = msgspec.structs.replace(first, counters={**first.counters, **counts})
        return NodeList(nodes=(first, *others))


T = TypeVar("T")

LIMIT_S: Final = 1.0
"""Real seconds that one step of a loop may take before it is reported."""
LOOK_S: Final = 0.5  # real seconds between two looks
_FRAMES: Final = 3  # of the innermost functions that are shown
_KEPT: Final = 64
_ROOT: Final = Path(__file__).resolve().parents[3]
_TREE: Final = ("protocol", "services", "chaos", "lab", "benchmarks", "tests")


class Suspension(NamedTuple):
    """The process did not run for ``seconds`` between two moments of the monotonic clock."""

    began: float
    ended: float
    seconds: float


def describe_blockage(stand: Blockage) -> str:
    """A blockage in words, for a log."""
    where = f" in {stand.where}" if stand.where else ""
    has = "stood still for" if stand.over else "has been standing still for"
    return f"the event loop {has} {stand.seconds:.1f} s{where}"


def seconds_run(began: float, ended: float, absences: Iterable[Suspension]) -> float:
    """Seconds between two moments in which the process ran."""
    away = 0.0
    for absence in absences:
        overlap = min(ended, absence.ended) - max(began, absence.began)
        away += max(min(overlap, absence.seconds), 0.0)
    return ended - began - away


class _WatchedSelector(EpollSelector):
    """Records since when its loop is busy. ``steps`` are (begin, end) of the steps that took too
    long."""

    def __init__(self, limit_s: float) -> None:
        super().__init__()
        self._limit_s = limit_s
        # None: the loop waits in its selector, or has ended.
        self.left: float | None = time.monotonic()
        self.steps: deque[tuple[float, float]] = deque(maxlen=_KEPT)

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        left, now = self.left, time.monotonic()
        self.left = None
        if left is not None and now - left > self._limit_s:
            self.steps.append((left, now))
        found = super().select(timeout)
        self.left = time.monotonic()
        return found

    def close(self) -> None:
        self.left = None
        super().close()


class _Watchdog:
    """Watches a selector from a thread of its own, until ``end``."""

    def __init__(
        self,
        selector: _WatchedSelector,
        report: Callable[[Blockage], None],
        limit_s: float,
        look_s: float,
    ) -> None:
        self._selector, self._report_blockage = selector, report
        self._limit_s, self._look_s = limit_s, look_s
        self._loop_thread = threading.get_ident()
        self._absences: deque[Suspension] = deque(maxlen=_KEPT)
        # Begin of the step that was reported, and where it was.
        self._seen: tuple[float, str] = (0.0, "")
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="loop-watchdog", daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._end.set()

    def _watch(self) -> None:
        while True:
            begun, used = time.monotonic(), time.process_time()
            if self._end.wait(self._look_s):
                return
            now = time.monotonic()
            late = now - begun - self._look_s
            # A long calculation delays this thread too, but has used the processor meanwhile.
            absent = late - (time.process_time() - used)
            if absent > self._look_s / 2:
                self._absences.append(Suspension(begun, now, absent))
            self._check(now)

    def _check(self, now: float) -> None:
        left = self._selector.left
        while self._selector.steps:
            began, ended = self._selector.steps.popleft()
            where = self._seen[1] if self._seen[0] == began else ""
            self._report(began, ended, where, over=True)
        if left is not None and left != self._seen[0] and now - left > self._limit_s:
            where = _innermost_functions(sys._current_frames().get(self._loop_thread))
            if self._selector.left == left and self._report(left, now, where, over=False):
                self._seen = left, where

    def _report(self, began: float, ended: float, where: str, *, over: bool) -> bool:
        seconds = seconds_run(began, ended, self._absences)
        if seconds <= self._limit_s:
            return False
        self._report_blockage(Blockage(seconds, where, over))
        return True


def _innermost_functions(frame: FrameType | None) -> str:
    """The innermost functions of keystead on the stack, outermost first; without any values."""
    found: list[str] = []
    while frame is not None and len(found) < _FRAMES:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(_ROOT) and path.relative_to(_ROOT).parts[0] in _TREE:
            place = path.relative_to(_ROOT)
            found.append(f"{place}:{frame.f_lineno} {frame.f_code.co_name}")
        frame = frame.f_back
    return " > ".join(reversed(found))


@contextmanager
def create_watched_loop(
    report: Callable[[Blockage], None], *, limit_s: float = LIMIT_S, look_s: float = LOOK_S
) -> Iterator[asyncio.AbstractEventLoop]:
    """A new event loop, to be run in this thread. ``report`` is called in another thread: when a
    step has taken more than ``limit_s`` real seconds, and again when the step is over."""
    selector = _WatchedSelector(limit_s)
    watchdog = _Watchdog(selector, report, limit_s, look_s)
    loop = asyncio.SelectorEventLoop(selector)
    watchdog.begin()
    try:
        yield loop
    finally:
        watchdog.end()


def run_watched(main: Coroutine[Any, Any, T], report: Callable[[Blockage], None]) -> T:
    """``asyncio.run(main)`` in a watched loop."""
    with create_watched_loop(report) as loop, asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main)
