"""A run as it is played: how far it is, on stderr, and what an interrupt does."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from lab.cli.interrupts import INTERRUPTED
from lab.cli.output import say
from lab.cli.progress import LINE_EVERY_S
from protocol.printable import printable

if TYPE_CHECKING:
    from chaos.progress import Progress, Step

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_ENDED: Final = b"\nkeystead: interrupted\n"
_HEALING: Final = b"\nkeystead: interrupted: everything is healed first, then the run is reported\n"


@contextmanager
def shown() -> Iterator[Progress]:
    """On a terminal the phase and its times stand below the lines that are told; elsewhere there
    are lines, and in a while one that only says how far it is."""
    if not sys.stderr.isatty():
        yield _Lines().show
        return
    try:
        yield _below
    finally:
        sys.stderr.write(_CLEAR)
        sys.stderr.flush()


_CLEAR: Final = "\r\x1b[2K"


def _below(step: Step) -> None:
    """One line at the bottom of a terminal, written anew each time: without a thread of its own,
    as a display of rich has, since who has threads cannot fork the worker of a run itself."""
    told = f"{printable(step.phase)}: {printable(step.text)}\n" if step.text else ""
    sys.stderr.write(f"{_CLEAR}{told}{printable(step.where())}")
    sys.stderr.flush()


class _Lines:
    def __init__(self) -> None:
        self._at = time.monotonic()

    def show(self, step: Step) -> None:
        now = time.monotonic()
        if step.text or now - self._at >= LINE_EVERY_S:
            self._at = now
            say(step.line())


@contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM call ``stop``; once more, they end this process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    times = 0

    def ask(number: int, frame: object) -> None:
        nonlocal times
        times += 1
        if times == 1:
            os.write(2, _HEALING)  # a stream that is in use cannot be used here
            stop()
            return
        if times == 2:  # a terminal that takes nothing does not hold up a third one
            os.write(2, _ENDED)
        os._exit(INTERRUPTED)

    before = {number: signal.signal(number, ask) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stopped_by_signals(stop: Callable[[], object]) -> None:
    """As ``stopping``, for the running event loop; what is being healed cannot be interrupted, nor
    is the report that follows. Who interrupts the end of a run for the first time ends the command.

    Not by the loop's own handlers of signals: a loop that closes takes them back after the pipe
    that they write to, and a signal in between makes Python print a traceback.
    """
    loop = asyncio.get_running_loop()
    asked = False

    def ask(number: int, frame: object) -> None:
        nonlocal asked
        if asked:
            return
        if loop.is_closed():
            raise KeyboardInterrupt
        asked = True
        os.write(2, _HEALING)
        loop.call_soon_threadsafe(stop)

    for number in _SIGNALS:
        signal.signal(number, ask)
