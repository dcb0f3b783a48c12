"""The conformance assertions, played in virtual time."""

from __future__ import annotations

import time
from collections.abc import Sequence

from lab.building.course import Report
from lab.conformance.assertions import ASSERTIONS, play_assertions
from lab.conformance.bench import Bench, Mode
from lab.schema.answers.experiments import AssertionStanding, Conformance
from lab.schema.errors import KeysteadError
from protocol.printable import quote_if_needed


def conformance(
    names: Sequence[str],
    *,
    seed: int,
    report: Report,
    mode: Mode = "sim",
    quick: bool = False,
    patch: str = "",
) -> Conformance:
    """Play assertions A01 to A30; empty: all of them. ``quick``: of the truth table only a part.
    In mode ``lab`` on real processes; an assertion that needs virtual time says so.

    KS-USE-002 for one that there is not.
    """
    began = time.monotonic()
    known = {one.id.lower(): one for one in ASSERTIONS}
    for name in names:
        if name.lower() not in known:
            first, last = ASSERTIONS[0].id, ASSERTIONS[-1].id
            text = f"there is no assertion {quote_if_needed(name)}; there are {first} to {last}"
            raise KeysteadError("KS-USE-002", text, "give one of these, in capitals or not")
    asked = {name.lower() for name in names}
    chosen = [one for key, one in known.items() if not asked or key in asked]
    bench = Bench(mode=mode, seed=seed, patch=patch, quick=quick)
    items = play_assertions(chosen, bench, report)

    def count(standing: AssertionStanding) -> int:
        return sum(one.standing is standing for one in items)

    return Conformance(
        mode=mode,
        seed=seed,
        seconds=round(time.monotonic() - began, 1),
        passed=count(AssertionStanding.PASS),
        failed=count(AssertionStanding.FAIL),
        not_available=count(AssertionStanding.NOT_AVAILABLE),
        exit_code=1 if count(AssertionStanding.FAIL) else 0,
        items=items,
    )
