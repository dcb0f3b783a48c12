"""The form of a reason: a function that returns the letter of a situation, or nothing.

All reasons that apply to one situation return the same letter; a test checks this for all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chaos.oracle.facts import Question, Situation
from chaos.oracle.terms import Letter

Says = Callable[[Situation], Letter | None]


@dataclass(frozen=True)
class LetterReason:
    """The reason R ``number``; ``cites``: its rules.

    ``instead_of``: more general reasons that it replaces in an explanation. ``beside``: it decides
    nothing; it adds a circumstance once others have decided.
    """

    number: int
    says: Says
    cites: tuple[str, ...]
    instead_of: frozenset[int] = frozenset()
    beside: bool = False

    def __str__(self) -> str:
        return f"R{self.number}"


def reason(
    number: int, *cites: str, instead_of: tuple[int, ...] = ()
) -> Callable[[Says], LetterReason]:
    """A function that returns this reason's letter, None where the reason does not apply."""
    return lambda says: LetterReason(number, says, cites, frozenset(instead_of))


def circumstance(
    number: int, *cites: str, instead_of: tuple[int, ...] = ()
) -> Callable[[Callable[[Situation], bool]], LetterReason]:
    """A function that returns whether this circumstance belongs in the explanation."""

    def make_reason(holds: Callable[[Situation], bool]) -> LetterReason:
        def says(s: Situation) -> Letter | None:
            return Letter.NONE if holds(s) else None

        return LetterReason(number, says, cites, frozenset(instead_of), beside=True)

    return make_reason


def works(s: Situation) -> Letter:
    """The letter of success: a host that booted is safe."""
    return Letter.SAFE if s.ask is Question.BOOT else Letter.OK


def lacks(s: Situation) -> Letter:
    """The letter of a missing key: a host is not safe, a VM to be started is locked (LOCK-01), any
    other operation is refused and locks nothing."""
    if s.ask is Question.BOOT:
        return Letter.UNSAFE
    return Letter.LOCKED if s.starts else Letter.NO
