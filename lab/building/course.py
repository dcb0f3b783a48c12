"""How far long work has come, and how long one waits for it: as long as something gets done.

A fixed limit fits one machine and one size of lab. Here each item that is finished begins the wait
anew, and a call that was not answered in time is made again while others still are: the messages
of ``provision`` converge, or carry an id by which they are known.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from lab.core import LabCore
from protocol.errors import (
    Busy,
    Disconnected,
    HostUnreachable,
    KeyProviderUnreachable,
    NotConnected,
    NotSent,
    TimedOut,
)
from protocol.messages.base import Reply, Request
from protocol.terms import NodeName
from services.runtime.each import for_each

T = TypeVar("T")
V = TypeVar("V")
R = TypeVar("R", bound=Reply)

Report = Callable[[str, int, int], None]
"""Hears of long work: a text, a step, and how many steps there are (0: nobody knows)."""


def unheard(text: str, step: int, total: int) -> None:
    """A report to nobody."""


STALL_S, STALL_REAL_S = 60.0, 60.0
"""No item was finished for so long, in lab seconds and in real ones: it has stalled."""
TELL_EVERY_REAL_S = 1.0
AGAIN_S = 1.0  # lab seconds until a call that was not answered is made again

_UNANSWERED = (
    Busy,
    Disconnected,
    HostUnreachable,
    KeyProviderUnreachable,
    NotConnected,
    NotSent,
    TimedOut,
)


class Course:
    """The steps of one long work, ``total`` of them; ``report`` hears of it."""

    def __init__(self, lab: LabCore, report: Report, total: int) -> None:
        self._lab, self._report, self._total = lab, report, total
        self.stall_s = max(STALL_S, lab.in_lab_s(STALL_REAL_S))
        self._advanced_at = lab.monotonic()

    def begin(self, step: int, text: str) -> None:
        """A step begins."""
        self.note_progress()
        self._report(text, step, self._total)

    def note_progress(self) -> None:
        """Something got done."""
        self._advanced_at = self._lab.monotonic()

    @property
    def stalled(self) -> bool:
        """Whether nothing got done for ``stall_s`` lab seconds."""
        return self._lab.monotonic() - self._advanced_at > self.stall_s

    async def each(
        self,
        step: int,
        text: str,
        items: Iterable[T],
        act: Callable[[T], Awaitable[V]],
        *,
        at_once: int,
    ) -> list[V]:
        """``for_each`` as one step, which tells its rate and the time that remains."""
        order = tuple(items)
        self.begin(step, text)
        pace = Pace(len(order))
        begun_at = told_at = self._lab.monotonic()
        a_real_s = self._lab.in_lab_s(1.0)

        async def one(item: T) -> V:
            nonlocal told_at
            outcome = await act(item)
            self.note_progress()
            pace.done += 1
            now = self._lab.monotonic()
            every_s = a_real_s * TELL_EVERY_REAL_S
            early = pace.done <= at_once  # those that began together say nothing of the rate
            if every_s and not early and now - told_at >= every_s and pace.done < len(order):
                told_at = now
                said = pace.text((now - begun_at) / a_real_s)
                self._report(f"{text}: {said}", step, self._total)
            return outcome

        return await for_each(order, one, at_once=at_once)

    async def ask(self, node: NodeName, message: Request[R]) -> R:
        """Ask until there is an answer; what nobody answers, until the work has stalled."""
        return await self.try_until_stalled(
            lambda: self._lab.ask(node, message, within_s=self.stall_s)
        )

    async def try_until_stalled(self, work: Callable[[], Awaitable[V]]) -> V:
        """What ``work`` brings, which may be done twice; what nobody answers, as by a machine that
        is away for a moment, is done again until all has stalled."""
        while True:
            try:
                return await work()
            except _UNANSWERED:
                if self.stalled:
                    raise
            await self._lab.sleep(AGAIN_S)


class Pace:
    """How many of how many are done."""

    def __init__(self, total: int) -> None:
        self.done, self.total = 0, total

    def text(self, real_s: float) -> str:
        """After so many seconds, in words: how many, how fast, how long still."""
        rate = self.done / real_s
        left_s = (self.total - self.done) / rate
        shown = f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}"
        return f"{self.done} of {self.total}, {shown} a second, about {left_s:.0f} s left"
