"""In which order stagings on real processes are begun. Pure.

What takes longest is first, else it is alone at the end. Whole labs and brief stagings are mixed,
as are blocks: a whole lab keeps a core busy for a quarter of its time, one of a trusted block for
more, so that as many of these as there are stagings at once would slow each other down, and the
more time they take the more heartbeats they have to pay for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from chaos.matrix.events import EVENTS
from chaos.matrix.grid import Staging
from chaos.matrix.terms import Boot, is_trusted

BRIEF_ONES: Final = 2
"""Begun after each whole lab: there are more of them, so the last ones are brief."""


def in_sequence(stagings: Iterable[Staging]) -> list[Staging]:
    """Those first that wait for an eviction or for tokens to expire."""
    late, whole, brief = list[Staging](), list[Staging](), list[Staging]()
    for one in stagings:
        kind = late if one.expired or one.evicted else brief if _is_brief(one) else whole
        kind.append(one)
    late.sort(key=lambda one: not one.expired)
    trusted = [one for one in whole if is_trusted(one.block)]
    spread = _spread(trusted, [one for one in whole if one not in trusted])
    others = iter(brief)
    mixed = [each for one in spread for each in (one, *islice(others, BRIEF_ONES))]
    return [*late, *mixed, *others]


def _spread(*kinds: Sequence[Staging]) -> list[Staging]:
    """Each kind evenly over the whole, in its order."""
    placed = [(at / len(kind), one) for kind in kinds for at, one in enumerate(kind)]
    return [one for _, one in sorted(placed, key=lambda found: found[0])]


def _is_brief(staging: Staging) -> bool:
    """What comes after a loss of power only, what is about a vSAN, and controls."""
    of_vsan = any(EVENTS[event].vsan for event in staging.events)
    return of_vsan or staging.control or staging.boot is not Boot.ORDERLY
