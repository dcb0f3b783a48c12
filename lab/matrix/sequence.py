"""In which order stagings on real processes are begun. Pure.

What waits for an eviction, or for tokens to expire, takes longest and needs least of a core: such
stagings are begun one by one up to a part of the run, so that they neither leave the cores idle
together nor are alone at the end. Whole labs and brief stagings are mixed, as are blocks: a whole
lab keeps a core busy for a quarter of its time, one of a trusted block for more, so that as many of
these as there are stagings at once would slow each other down, and the more time they take the more
heartbeats they have to pay for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from chaos.matrix.events import EVENTS
from chaos.matrix.grid import Staging
from chaos.matrix.terms import Boot, is_trusted

LATE_WITHIN: Final = 0.6
"""The part of the run in which all that waits longest is begun."""
BRIEF_ONES: Final = 2
"""Begun after each whole lab: there are more of them, so the last ones are brief."""


def in_sequence(stagings: Iterable[Staging]) -> list[Staging]:
    """See the module's text; of those that wait longest, first what waits for tokens."""
    late, whole, brief = list[Staging](), list[Staging](), list[Staging]()
    for one in stagings:
        kind = late if one.expired or one.evicted else brief if _is_brief(one) else whole
        kind.append(one)
    late.sort(key=lambda one: not one.expired)
    trusted = [one for one in whole if is_trusted(one.block)]
    spread = _spread((trusted, 1.0), ([one for one in whole if one not in trusted], 1.0))
    others = iter(brief)
    mixed = [each for one in spread for each in (one, *islice(others, BRIEF_ONES))]
    return _spread(([*mixed, *others], 1.0), (late, LATE_WITHIN))


def _spread(*kinds: tuple[Sequence[Staging], float]) -> list[Staging]:
    """Each kind evenly over a part of the whole, from its beginning on, and in its order."""
    placed = [(at / len(kind) * part, one) for kind, part in kinds for at, one in enumerate(kind)]
    return [one for _, one in sorted(placed, key=lambda found: found[0])]


def _is_brief(staging: Staging) -> bool:
    """What comes after a loss of power only, what is about a vSAN, and controls."""
    of_vsan = any(EVENTS[event].vsan for event in staging.events)
    return of_vsan or staging.control or staging.boot is not Boot.ORDERLY
