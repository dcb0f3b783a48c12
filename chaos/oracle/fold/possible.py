"""What can come of a question when some of its facts are open: one outcome for each that fits."""

from __future__ import annotations

from functools import lru_cache
from itertools import product

from chaos.oracle.facts import Ask, Place, Situation
from chaos.oracle.fold.known import Known
from chaos.oracle.fold.ways import Parts
from chaos.oracle.judgement import Outcome, outcome, worst
from chaos.oracle.terms import Letter

Outcomes = frozenset[Outcome]
WORKS: Outcomes = frozenset({Outcome(Letter.OK)})


@lru_cache(maxsize=16384)
def of_key(
    ask: Ask,
    places: frozenset[Place],
    parts: Parts,
    usable: Known,
    renewable: Known,
    renews: bool,
    sealed: bool,
) -> Outcomes:
    """Of a host that booted and may have the key in any of ``places``; ``usable``: the key is
    Active at its source; ``renewable``: another provider could make a new host key; ``renews``:
    vCenter makes new host keys at all."""
    open_ = product(places, *parts, usable, renewable)
    return frozenset(
        outcome(
            Situation(
                ask=ask,
                sealed=sealed,
                booted=True,
                held=place.held,
                vcenter=vcenter,
                vcenter_reaches_host=to_host,
                kms=kms,
                listed=listed,
                default=listed and renews,
                key_usable=can,
                renewable=renew and vcenter and to_host,
            )
        )
        for place, vcenter, to_host, kms, listed, can, renew in open_
    )


@lru_cache(maxsize=16384)
def of_vm(keys: tuple[Outcomes, ...], host: Outcomes) -> Outcomes:
    """Of a VM that needs all of these keys, on a host that may be in these states: with its keys
    there, and the host not safe, it is refused and not locked."""
    found = WORKS
    for outcomes in keys:
        found = frozenset(worst((a, b)) for a in outcomes for b in found)
    if keys and any(one.letter is Letter.OK for one in found):
        found |= {Outcome(Letter.NO, s.reasons) for s in host if s.letter is Letter.UNSAFE}
    return found


@lru_cache(maxsize=4096)
def lock_states(outcomes: Outcomes) -> frozenset[str]:
    """A VM that does not run is locked while its host lacks a key of it, by the host's record."""
    states: set[str] = set()
    for found in outcomes:
        if found.letter is Letter.LOCKED:
            states.add("locked")
        elif found.letter is Letter.OK and 4 not in found.reasons:
            states.add("off")
        else:
            states |= {"off", "locked"}
    return frozenset(states)
