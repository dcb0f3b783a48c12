"""What came of every operation of a load, as it was: nothing is averaged before the end."""

from __future__ import annotations

from array import array
from typing import Final

from chaos.playing import outcome

OK: Final = 0
"""The number of the outcome of an operation that went well."""
UNSENT: Final = "Unsent"
"""The load was over before its turn came: too many others were under way."""
INTERRUPTED: Final = "Interrupted"
"""The load was ended by somebody while it was under way."""
NO_ANSWER: Final = outcome.NO_ANSWER | {UNSENT, INTERRUPTED}
"""Outcomes without an answer: how long they were waited for belongs to the latency."""


class LoadRecord:
    """A place for each arrival, by its number, filled when it has ended.

    ``late``     seconds by which the generator itself came to it late: after it was due, and after
                 there was room for it; of one that was held no less than its loop was late then
    ``took``     seconds from when it was due to its end; below 0 while it has not ended
    ``outcome``  ``OK``, or the number of an error in ``errors``
    ``held``     1 when it, or one before it, had to wait because too many were under way
    """

    def __init__(self, count: int) -> None:
        self.late = array("d", bytes(8 * count))
        self.took = array("d", [-1.0]) * count
        self.outcome = array("H", bytes(2 * count))
        self.held = array("B", bytes(count))
        self.errors: list[str] = [""]
        self._numbers: dict[str, int] = {}
        self.ended = self.failed = 0
        self.lately = array("L")
        """Those that have ended since somebody took them out of here."""

    def anew(self, first: int, count: int) -> None:
        """From number ``first`` on, of which none was begun, there are others: ``count`` in all."""
        for column in (self.late, self.took, self.outcome, self.held):
            del column[first:]
        more = count - first
        self.late.frombytes(bytes(8 * more))
        self.took.extend([-1.0] * more)
        self.outcome.frombytes(bytes(2 * more))
        self.held.frombytes(bytes(more))

    def end(self, number: int, took: float, error: str = "") -> None:
        """An operation has ended, ``took`` seconds after it was due; ``error``: its id."""
        self.took[number] = took
        self.lately.append(number)
        self.ended += 1
        if error:
            self.failed += 1
            known = self._numbers.get(error)
            if known is None:
                known = self._numbers[error] = len(self.errors)
                self.errors.append(error)
            self.outcome[number] = known

    def error(self, number: int) -> str:
        """The id of its error; empty for one that went well."""
        return self.errors[self.outcome[number]]

    def timed(self, number: int) -> bool:
        """Whether how long it took belongs to the latency: it went well, or had no answer."""
        return self.took[number] >= 0 and (
            self.outcome[number] == OK or self.error(number) in NO_ANSWER
        )
