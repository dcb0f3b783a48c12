"""What can come of a question when some of its facts are open: one outcome for each that fits."""

from __future__ import annotations

from functools import lru_cache
from itertools import product

from chaos.oracle.facts import (
    Kdk,
    KeyInMemory,
    KeyPlace,
    KeyProviderKind,
    Overrides,
    Question,
    Situation,
)
from chaos.oracle.fold.known import Known
from chaos.oracle.fold.trust import Case, TrustParts
from chaos.oracle.fold.ways import WayParts
from chaos.oracle.judgement import Outcome, outcome, worst
from chaos.oracle.terms import Letter

Outcomes = frozenset[Outcome]
WORKS: Outcomes = frozenset({Outcome(Letter.OK)})
ANY: Outcomes = WORKS | {Outcome(Letter.LOCKED), Outcome(Letter.NO)}
"""Of a VM whose key, or whose host, is not known."""
BROUGHT_THEN = frozenset({4, 40, 41, 46, 56})
"""Reasons by which it works because what is missing comes, once it is tried."""
TRIED_IN_VAIN = frozenset({44, 48, 50, 52, 53, 65})
"""Reasons why a host does not get a key that it asks others for, or derives another one: what
nobody has tried locks nothing."""


@lru_cache(maxsize=16384)
def of_key(
    ask: Question,
    places: frozenset[KeyPlace],
    parts: WayParts,
    usable: Known,
    renewable: Known,
    renews: Known,
    sealed: bool,
) -> Outcomes:
    """Of a host that booted and may have the key in any of ``places``; ``usable``: the key is
    Active at its source; ``renewable``: another provider could make a new host key; ``renews``:
    vCenter makes new host keys at all, and has a default provider for it."""
    open_ = product(places, *parts, usable, renewable, renews)
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
                default=listed and makes,
                key_usable=can,
                renewable=renew and vcenter and to_host,
            )
        )
        for place, vcenter, to_host, kms, listed, can, renew, makes in open_
    )


@lru_cache(maxsize=16384)
def of_derived_key(
    ask: Question,
    places: frozenset[KeyPlace],
    cases: frozenset[tuple[Kdk, bool]],
    parts: WayParts,
    listings: frozenset[Kdk],
    renewable: Known,
    sealed: bool,
) -> Outcomes:
    """Of a host that booted and derives the key; ``cases``: its KDK, and whether the provider
    leaves it out; ``listings``: the KDK that vCenter lists. A host key was derived at the boot or
    it was not (B5): whether the right KDK is there by now is another thing."""
    found: set[Outcome] = set()
    open_ = product(places, cases, parts.vcenter, parts.to_host, listings, renewable)
    for place, (kdk, excluded), vcenter, to_host, theirs, renew in open_:
        held, boot, listed = place.held, ask is Question.BOOT, theirs is not Kdk.ABSENT
        if excluded:
            held = KeyInMemory.NO
        if boot and (held is not KeyInMemory.NO or kdk is Kdk.RIGHT):
            kdk = Kdk.ABSENT if held is KeyInMemory.NO else Kdk.RIGHT
        # Which host is left out stands in the list that hosts have: it is told when that changes.
        for out in (excluded,) if listed else (excluded, False):
            there = listed or out
            situation = Situation(
                ask=ask,
                kind=KeyProviderKind.NATIVE,
                sealed=sealed,
                booted=True,
                held=KeyInMemory.NO if boot else held,
                vcenter=vcenter,
                vcenter_reaches_host=to_host,
                listed=there,
                default=there,
                kdk=kdk,
                vcenter_kdk=theirs if listed or not there else Kdk.RIGHT,
                excluded=out,
                renewable=renew and vcenter and to_host,
            )
            found.add(outcome(situation))
    return frozenset(found)


@lru_cache(maxsize=16384)
def of_trusted_key(
    ask: Question,
    places: frozenset[KeyPlace],
    cases: frozenset[Case],
    parts: TrustParts,
    usable: Known,
    renewable: Known,
    overrides: Overrides,
) -> Outcomes:
    """Of a trusted host that booted; ``cases``: what may be so of its attestation."""
    open_ = product(places, cases, *parts, usable)
    found = {
        outcome(
            Situation(
                ask=ask,
                kind=KeyProviderKind.TRUSTED,
                booted=True,
                held=KeyInMemory.CACHED
                if place.held is KeyInMemory.PUSHED
                else place.held,  # nobody pushes it
                listed=listed,
                default=listed,
                attestation=said,
                image_known=known,
                attestation_service=attestation,
                key_provider_service=service,
                kms=kms,
                key_usable=can,
                overrides=overrides,
            )
        )
        for place, (known, said), attestation, service, kms, listed, can in open_
    }
    if ask is Question.BOOT and True in renewable:
        found.add(Outcome(Letter.SAFE, (30,)))
    return frozenset(found)


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
        if found.letter is Letter.LOCKED and not TRIED_IN_VAIN & set(found.reasons):
            states.add("locked")
        elif found.letter is Letter.OK and not BROUGHT_THEN & set(found.reasons):
            states.add("off")
        else:
            states |= {"off", "locked"}
    return frozenset(states)
