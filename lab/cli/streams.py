"""The three standard streams: closed before the start, full, read no more, slow to take.

- One that is closed leads nowhere: what the program opens next shall not get its number.
- Output that nobody reads any more is dropped, and the command goes on to its own exit code, as a
  verdict has one. Only what shows news for ever ends then: it calls ``flush``.
- Output that is refused for another reason is an error with an id: it is lost.
- Messages that are refused are dropped: there is nobody to tell, and the work goes on.
"""

from __future__ import annotations

import io
import os
import select
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer


class NotWritten(OSError):
    """Standard output refused what was written, not because its reader has gone."""


class OutputClosed(Exception):
    """Nobody reads standard output any more, and news for ever is all that the command shows."""


class _Output(io.FileIO):
    """Where a stream is written to. After the first refusal it leads nowhere."""

    def __init__(self, number: int, *, tells: bool) -> None:
        super().__init__(number, "w", closefd=False)
        self._tells = tells
        self.unread = False

    def write(self, data: Buffer) -> int:
        try:
            while (written := super().write(data)) is None:
                select.select([], [self], [])  # whoever shares it wants no waiting; we do
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            if isinstance(error, BrokenPipeError):
                self.unread = True
            elif self._tells:
                raise NotWritten(error.errno, error.strerror) from None
            return super().write(data)
        return written


def prepare() -> None:
    """Make ``sys.stdout`` and ``sys.stderr`` as this module says, and ``sys.stdin`` there.

    Those that somebody has put in the place of the interpreter's own stay.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False))
    if sys.stdout is sys.__stdout__:
        sys.stdout = _stream(1, sys.stdout, tells=True)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _stream(2, sys.stderr, tells=False)


def _stream(number: int, was: object, *, tells: bool) -> io.TextIOWrapper:
    raw = _Output(number, tells=tells)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(was, "encoding", None) or "utf-8",
        errors="backslashreplace",  # a terminal that is not UTF-8
        line_buffering=number == 2 or raw.isatty(),
    )


def flush() -> None:
    """Show what was written, now; ``OutputClosed`` when nobody reads it any more."""
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(raw, _Output) and raw.unread:
        raise OutputClosed
