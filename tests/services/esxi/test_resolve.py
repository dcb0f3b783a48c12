"""The order of looking for a key, over all combinations of facts."""

from __future__ import annotations

from itertools import product

import pytest

from protocol.terms import ManagementType as M
from services.esxi.providers.capabilities import (
    KeyMeans,
    ResolvedKeyFacts,
    is_usable_on_host,
    next_means,
)

BOOLS = (False, True)
ALL = [
    ResolvedKeyFacts(cached, stored, persistence, provider, has_kdk, may_ask)
    for cached, stored, persistence, provider, has_kdk, may_ask in product(
        BOOLS, BOOLS, BOOLS, M, BOOLS, BOOLS
    )
]


def test_a_cached_key_is_used_and_nobody_is_asked() -> None:
    assert {next_means(f) for f in ALL if f.cached} == {KeyMeans.CACHE}


def test_the_store_comes_before_derivation_and_that_before_everyone_else() -> None:
    """A stored key was brought: a provider of that name that is a native one now has not made
    it."""
    for facts in (f for f in ALL if not f.cached):
        usable = facts.persistence and facts.stored
        assert (next_means(facts) is KeyMeans.STORE) == usable
        if not usable:
            derivable = facts.provider is M.NATIVE_PROVIDER and facts.has_kdk
            assert (next_means(facts) is KeyMeans.DERIVE) == derivable


def test_a_kept_store_is_not_used_while_persistence_is_off() -> None:
    assert (
        next_means(ResolvedKeyFacts(cached=False, stored=True, persistence=False)) is KeyMeans.NONE
    )


@pytest.mark.parametrize(
    ("provider", "may_ask", "means"),
    [
        (M.UNKNOWN, True, KeyMeans.ASK_VCENTER),
        (M.VCENTER, True, KeyMeans.ASK_VCENTER),
        (M.VCENTER, False, KeyMeans.NONE),
        (M.TRUST_AUTHORITY, False, KeyMeans.KEY_PROVIDER_SERVICE),
        (M.NATIVE_PROVIDER, True, KeyMeans.ASK_VCENTER),  # for the KDK
        (M.NATIVE_PROVIDER, False, KeyMeans.NONE),
    ],
)
def test_without_key_and_store_the_provider_decides(
    provider: M, may_ask: bool, means: KeyMeans
) -> None:
    facts = ResolvedKeyFacts(
        cached=False, stored=False, persistence=True, provider=provider, may_ask=may_ask
    )
    assert next_means(facts) is means


def test_a_vm_is_locked_exactly_when_others_would_have_to_be_asked() -> None:
    for facts in ALL:
        asks = next_means(facts) in (
            KeyMeans.ASK_VCENTER,
            KeyMeans.KEY_PROVIDER_SERVICE,
            KeyMeans.NONE,
        )
        assert is_usable_on_host(facts) is not asks
