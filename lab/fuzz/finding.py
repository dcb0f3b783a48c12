"""What is wrong with a run, so that another one can be told to be wrong in the same way."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from chaos.checks.result import CheckOutcome
from chaos.verdict import Exit, Verdict

_ID = re.compile(r"KS-[A-Z]+-\d+")


class Failure(msgspec.Struct, frozen=True, order=True):
    """``kind``: ``check`` (a check or hypothesis failed), ``harness``, ``crash`` (an exception
    that nobody took, or the end of the run's process), ``slow`` (it did not end) or ``replay``
    (the same seed gave another run). ``name``: of the check, or the id of the error."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" if self.name else self.kind


LEAK: Final = Failure("check", "no_plaintext_key")
"""Found only where the run ends with a search for keys."""


def failures(verdict: Verdict) -> tuple[Failure, ...]:
    """Each way in which a run failed, in the order in which it was judged; none when it passed.

    A run that could not judge something is no failure of what was tested.
    """
    if verdict.exit_code in (Exit.PASS, Exit.UNKNOWN):
        return ()
    failed = [c.name for c in verdict.checks if c.result is CheckOutcome.FAIL]
    if failed:
        return tuple(Failure("check", name) for name in dict.fromkeys(failed))
    ids = [found[0] for reason in verdict.reasons if (found := _ID.search(reason))]
    return tuple(Failure("harness", id) for id in dict.fromkeys(ids)) or (
        Failure("harness", verdict.verdict),
    )


def of_exception(error: BaseException) -> Failure:
    """The failure of a run that came to no verdict."""
    if isinstance(error, TimeoutError):
        return Failure("slow", "")
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return Failure("crash", type(error).__name__)
