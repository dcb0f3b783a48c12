"""Progress of long commands on stderr: lines, a spinner on a terminal, JSON lines, nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from lab.cli.output import console, json_line, say
from lab.supervise.launching import Report

LINE_EVERY_S = 5.0


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
            from lab.schema.wire import Progress

            yield lambda text, step, total: json_line(
                Progress(text=text, step=step, total=total), sys.stderr
            )
        case Style.NONE:
            yield lambda text, step, total: None
        case _:
            yield _Lines().tell


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
