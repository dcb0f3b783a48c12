"""What Ctrl-C does to a command: its first is a ``KeyboardInterrupt``, a further one is the end.

Python's own handler raises each time: in the middle of what a first one unwinds, in the last lines
of ``main``, and while the interpreter leaves, where it has put the system's handler back already.
Such a process ends by a traceback or by the signal, and not with the exit code of an interrupt.
Here no second one is raised. Everything that a command starts ends with it, as after a kill.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from typing import NoReturn

INTERRUPTED = 130


class Interrupts:
    """Of the main thread. ``arm`` when a command begins, ``settle`` when its outcome is known."""

    def __init__(self) -> None:
        self._code = INTERRUPTED
        self._taken = False

    def arm(self) -> None:
        """From here on, up to the last steps of the interpreter."""
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # the first is done last
        signal.signal(signal.SIGINT, self._hear)

    def settle(self, code: int) -> None:
        """The outcome is there: an interrupt ends the process at once, with the outcome's code."""
        self._code, self._taken = code, True
        signal.signal(signal.SIGINT, self._hear)  # a command may have left a handler of its own
        # One that was raised while text was executed, as dataclasses are made, ends `python -m` by
        # the signal though it was taken. The next text that is executed makes that undone.
        exec("")  # noqa: S102

    def _hear(self, number: int, frame: object) -> None:
        if self._taken:
            os._exit(self._code)
        self._taken = True
        asyncio = sys.modules.get("asyncio")  # it takes long to load: most commands never do
        running = getattr(asyncio, "get_running_loop", None)  # None while it is half loaded
        try:
            loop = running and running()
        except RuntimeError:  # none runs
            loop = None
        if loop is None:
            raise KeyboardInterrupt
        loop.call_soon_threadsafe(_interrupt)  # between two steps: none of them is torn


def _interrupt() -> NoReturn:
    raise KeyboardInterrupt
