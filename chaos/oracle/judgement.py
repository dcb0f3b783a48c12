"""The outcome of a situation and its reasons. All reasons are evaluated, and they must agree."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import msgspec

from chaos.oracle.facts import Life, Question, Situation
from chaos.oracle.reasons import REASONS
from chaos.oracle.terms import Letter


class Outcome(msgspec.Struct, frozen=True):
    """A letter, and the numbers of the reasons for it, in ascending order.

    There are no reasons where no key is needed: for a VM that is not encrypted.
    """

    letter: Letter
    reasons: tuple[int, ...] = ()

    def __str__(self) -> str:
        told = ", ".join(f"R{number}" for number in self.reasons)
        return f"{self.letter}{f' by {told}' if told else ''}"


class Undecided(Exception):
    """No reason applies to a situation, or two contradict each other: the model is wrong."""


@lru_cache(maxsize=65536)
def outcome(situation: Situation) -> Outcome:
    """The outcome of a situation. ``Undecided`` when the reasons do not agree on one letter."""
    if not situation.encrypted:
        return _clear(situation)
    spoken = [(r, letter) for r in REASONS if (letter := r.says(situation)) is not None]
    letters = {letter for r, letter in spoken if not r.beside}
    if len(letters) != 1:
        said = ", ".join(f"{r} {letter}" for r, letter in spoken) or "nothing"
        raise Undecided(f"{said}: {situation}")
    general = {number for r, _ in spoken for number in r.instead_of}
    numbers = {r.number for r, _ in spoken} - general
    return Outcome(letters.pop(), tuple(sorted(numbers)))


_WORST_FIRST = (
    Letter.PURPLE_SCREEN,
    Letter.LOCKED,
    Letter.NO,
    Letter.UNSAFE,
    Letter.PARTLY,
    Letter.SAFE,
    Letter.OK,
)


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """The outcome of an operation that needs several keys: the worst of theirs, since it needs
    all."""
    return min(outcomes, key=lambda found: _WORST_FIRST.index(found.letter))


def _clear(s: Situation) -> Outcome:
    """A VM that is not encrypted needs a host, and vCenter where it leads (BOOT-01, C7)."""
    led = s.ask in (Question.MOVE, Question.CREATE, Question.JOIN)
    if s.ask is Question.RUN or (s.life is Life.UP and (s.vcenter_here or not led)):
        return Outcome(Letter.OK)
    return Outcome(Letter.NO, (13,) if s.life is Life.UP else (20,))
