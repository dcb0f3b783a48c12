"""What a reason is: a function that says what comes of a situation, or nothing.

All reasons that speak in one situation say the same letter; a test holds that over all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chaos.oracle.facts import Question, Situation
from chaos.oracle.terms import Letter

Says = Callable[[Situation], Letter | None]


@dataclass(frozen=True)
class LetterReason:
    """The reason R ``number``, by the rules that it ``cites``.

    ``instead_of``: more general reasons that need not be told where this one speaks. One that is
    ``beside`` decides nothing: it speaks of a circumstance, when others have decided.
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
    """A function that returns the letter that this reason says, None where it does not speak."""
    return lambda says: LetterReason(number, says, cites, frozenset(instead_of))


def circumstance(
    number: int, *cites: str, instead_of: tuple[int, ...] = ()
) -> Callable[[Callable[[Situation], bool]], LetterReason]:
    """A function that returns whether this circumstance is worth telling."""

    def make_reason(holds: Callable[[Situation], bool]) -> LetterReason:
        def says(s: Situation) -> Letter | None:
            return Letter.NONE if holds(s) else None

        return LetterReason(number, says, cites, frozenset(instead_of), beside=True)

    return make_reason


def works(s: Situation) -> Letter:
    """The letter of what works: a host that booted is safe."""
    return Letter.SAFE if s.ask is Question.BOOT else Letter.OK


def lacks(s: Situation) -> Letter:
    """The letter of what lacks its key: a host is not safe, a VM to be started is locked
    (LOCK-01), anything else is refused and locks nothing."""
    if s.ask is Question.BOOT:
        return Letter.UNSAFE
    return Letter.LOCKED if s.starts else Letter.NO
