"""Progress of long commands on stderr: lines, a spinner on a terminal, JSON lines, nothing."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, TypeVar

from lab.cli.output import console, json_line, say
from lab.schema.wire import Progress
from lab.supervise.launching import Report
from protocol.messages.base import Event

LINE_EVERY_S = 5.0
SHOW_AFTER_S, SHOW_EVERY_S = 0.3, 0.2
A = TypeVar("A")


class Style(StrEnum):
    """How progress is told; ``auto``: rich on a terminal, else plain."""

    AUTO = "auto"
    PLAIN = "plain"
    RICH = "rich"
    JSON = "json"
    NONE = "none"


@contextmanager
def telling(style: Style, title: str) -> Iterator[Report]:
    """Give ``report(text, step, total)``; ``total`` 0 = unknown."""
    if style is Style.AUTO:
        style = Style.RICH if sys.stderr.isatty() else Style.PLAIN
    match style:
        case Style.RICH:
            from rich.markup import escape

            with console(sys.stderr).status(escape(title)) as status:
                yield lambda text, step, total: status.update(escape(_line(text, step, total)))
        case Style.JSON:
            yield lambda text, step, total: json_line(
                Progress(text=text, step=step, total=total), sys.stderr
            )
        case Style.NONE:
            yield lambda text, step, total: None
        case _:
            yield _Lines().tell


class Latest:
    """What a lab reported last of a command; ``title`` before that."""

    def __init__(self, title: str) -> None:
        self._title, self._event = title, Progress(text="")

    def hear(self, event: Event) -> None:
        """Take in an event of the lab."""
        if isinstance(event, Progress):
            self._event = event

    def text(self) -> str:
        """One line for people."""
        event = self._event
        return _line(event.text or self._title, event.step, event.total if event.total > 1 else 0)


async def showing_progress(work: Coroutine[Any, Any, A], text: Callable[[], str]) -> A:
    """The result of ``work``. On a terminal, when it takes longer than ``SHOW_AFTER_S``, a line on
    stderr shows ``text()`` and the seconds until then; it is removed at the end."""
    if not sys.stderr.isatty():
        return await work
    begun, task = time.monotonic(), asyncio.get_running_loop().create_task(work)
    try:
        if not (await asyncio.wait({task}, timeout=SHOW_AFTER_S))[0]:
            with telling(Style.RICH, text()) as report:
                while not (await asyncio.wait({task}, timeout=SHOW_EVERY_S))[0]:
                    report(f"{text()} ({time.monotonic() - begun:.0f} s)", 0, 0)
        return task.result()
    finally:
        task.cancel()


class _Lines:
    """A line for each step; within a step, which may last, one in a while."""

    def __init__(self) -> None:
        self._step, self._at = -1, 0.0

    def tell(self, text: str, step: int, total: int) -> None:
        now = time.monotonic()
        if total and step == self._step and ":" in text and now - self._at < LINE_EVERY_S:
            return
        self._step, self._at = step, now
        say(_line(text, step, total))


def _line(text: str, step: int, total: int) -> str:
    return f"[{step}/{total}] {text}" if total else text
