"""The search for an order of operations: Wing and Gong's, with Lowe's memory of what was tried.

An order is a sequence of the operations in which each one comes between its begin and its end, and
each gives, from the state that those before it left, what its client saw.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, TypeVar

S = TypeVar("S", bound=Hashable)

MOST_STEPS: Final = 200_000
"""Steps of one search; a search that needs more ends as ``UNKNOWN``."""


class Ordered(StrEnum):
    """Whether there is an order; ``UNKNOWN`` when the search came to its bound."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Effect(Generic[S]):
    """An operation that takes effect at one moment from ``begin`` to ``end``.

    ``apply`` gives the state after it, None when it cannot have happened in that state. ``surely``:
    it took effect; otherwise it may have, once, or never. ``number`` is the operation's own.
    """

    begin: float
    end: float
    apply: Callable[[S], S | None]
    surely: bool
    number: int


@dataclass(frozen=True)
class Search:
    """What a search came to: the numbers of the longest order that it found, and its steps."""

    ordered: Ordered
    longest: tuple[int, ...]
    steps: int


def search(effects: Sequence[Effect[S]], start: S, most: int = MOST_STEPS) -> Search:
    """Look for an order of ``effects`` from the state ``start``, in at most ``most`` steps.

    Moments that are equal overlap. Every effect is tried that begins before all that surely
    happened and are left have ended. A set of effects that once led to a state is not tried again.
    """
    ordered = sorted(effects, key=lambda effect: effect.begin)
    must = sum(1 << place for place, effect in enumerate(ordered) if effect.surely)
    tried: set[tuple[int, S]] = {(0, start)}
    stack = [(0, iter(_next(ordered, 0, start)))]
    path: list[int] = []
    longest: tuple[int, ...] = ()
    steps = 0
    while stack:
        done, candidates = stack[-1]
        if done & must == must:
            return Search(Ordered.YES, tuple(ordered[place].number for place in path), steps)
        for place, after in candidates:
            steps += 1
            if steps > most:
                return Search(Ordered.UNKNOWN, longest, steps)
            then = done | 1 << place
            if (then, after) in tried:
                continue
            tried.add((then, after))
            path.append(place)
            if len(path) > len(longest):
                longest = tuple(ordered[there].number for there in path)
            stack.append((then, iter(_next(ordered, then, after))))
            break
        else:
            stack.pop()
            if path:
                path.pop()
    return Search(Ordered.NO, longest, steps)


def _next(ordered: Sequence[Effect[S]], done: int, state: S) -> list[tuple[int, S]]:
    """What may come next, with the state after it: the earliest end first.

    An effect that fits and changes nothing comes at once, and nothing else is tried: in any order
    in which it comes later it may as well come now. One that need not have been is left out then.
    """
    found: list[tuple[int, S]] = []
    first_end = float("inf")
    begun: list[int] = []
    for place, effect in enumerate(ordered):
        if done >> place & 1:
            continue
        if effect.begin > first_end:
            break
        begun.append(place)
        if effect.surely:
            first_end = min(first_end, effect.end)
    for place in begun:
        effect = ordered[place]
        after = effect.apply(state) if effect.begin <= first_end else None
        if after is None:
            continue
        if after != state:
            found.append((place, after))
        elif effect.surely:
            return [(place, after)]
    return sorted(found, key=lambda one: (not ordered[one[0]].surely, ordered[one[0]].end))
