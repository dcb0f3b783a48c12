"""What a search for every key came to, as the history of a run has it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from chaos.history import History
from lab.scan.exempt import leaks
from lab.scan.search import Find, SearchedPlace, search

OP: Final = "scan"
"""Of its ``state`` record: how many ``places`` of each sort were searched for how many ``keys``,
in which sorts the ``canary`` was found, what was found else, and whether keys were ``kept``."""
CANARY: Final = "canary"
_MOST: Final = 10  # findings of each sort of place that a history has in full


def search_and_count(
    secrets: Mapping[bytes, str], canary: bytes, places: Sequence[SearchedPlace]
) -> tuple[list[Find], dict[str, int]]:
    """All that is found of ``secrets`` and the canary; how many places there are of each sort."""
    found = search({**secrets, canary: CANARY}, places)
    return found, dict(sorted(Counter(place.kind for place in places).items()))


def write(
    history: History,
    found: Sequence[Find],
    places: Mapping[str, int],
    keys: int,
    *,
    kept: bool,
    missing: str = "",
) -> None:
    """Write down what was found where: kinds of keys, never bytes; ``missing``: what could not be
    searched."""
    hits = {find.kind for find in found if find.secret == CANARY}
    bad = leaks(find for find in found if find.secret != CANARY)
    shown = [find for kind in places for find in [f for f in bad if f.kind == kind][:_MOST]]
    history.add(
        "state",
        op=OP,
        kept=kept,
        places=places,
        keys=keys,
        canary=sorted(hits),
        findings=[msgspec.structs.asdict(find) for find in shown],
        more=len(bad) - len(shown),
        **({"missing": missing} if missing else {}),
    )
