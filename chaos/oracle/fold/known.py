"""The knowledge of a fact: true, false, or open."""

from __future__ import annotations

from collections.abc import Iterable

Known = frozenset[bool]
"""The values that a fact may have."""

YES: Known = frozenset({True})
NO: Known = frozenset({False})
OPEN: Known = frozenset({True, False})


def both(facts: Iterable[Known]) -> Known:
    """Whether all of them are true."""
    least = YES
    for fact in facts:
        if fact == NO:
            return NO
        if fact == OPEN:
            least = OPEN
    return least


def either(facts: Iterable[Known]) -> Known:
    """Whether one of them is true."""
    return inverse(both(inverse(fact) for fact in facts))


def inverse(fact: Known) -> Known:
    """Whether it is false."""
    return frozenset(not value for value in fact)
