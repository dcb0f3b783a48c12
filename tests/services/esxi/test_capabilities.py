"""What a host does for each management type of key provider."""

from __future__ import annotations

from dataclasses import replace

from protocol.terms import KeyUnavailableReason as Why
from protocol.terms import ManagementType as M
from services.esxi.providers.capabilities import KeySource, capability


def test_what_an_unknown_provider_is_taken_for() -> None:
    """For a standard one, except that its keys have an unknown manager (HEM-08)."""
    unknown = capability(M.UNKNOWN)
    assert unknown == replace(capability(M.VCENTER), management=unknown.management)
    assert {kind: capability(kind).management.value for kind in M} == {
        M.UNKNOWN: "unknown",
        M.VCENTER: "external",
        M.TRUST_AUTHORITY: "external",
        M.NATIVE_PROVIDER: "internal",
    }


def test_who_gives_a_key_and_who_makes_one() -> None:
    assert {kind: capability(kind).source for kind in M} == {
        M.UNKNOWN: KeySource.VCENTER,
        M.VCENTER: KeySource.VCENTER,
        M.TRUST_AUTHORITY: KeySource.KEY_PROVIDER_SERVICE,
        M.NATIVE_PROVIDER: KeySource.DERIVATION,
    }
    for kind in M:
        can = capability(kind)
        # vCenter is asked for what it brings, keys or KDKs; a host makes what it can name itself.
        assert can.rings_vcenter == (can.source is not KeySource.KEY_PROVIDER_SERVICE)
        assert can.makes_keys == (can.source is not KeySource.VCENTER)


def test_only_a_native_provider_lets_a_host_persist_keys_without_a_tpm() -> None:
    """KP-06."""
    assert {kind for kind in M if capability(kind).persists_without_tpm} == {M.NATIVE_PROVIDER}


def test_each_has_its_reason_for_a_key_that_is_not_there() -> None:
    """STD-20."""
    assert {kind: capability(kind).unavailable for kind in M} == {
        M.UNKNOWN: Why.MISSING_IN_CACHE,
        M.VCENTER: Why.MISSING_IN_CACHE,
        M.TRUST_AUTHORITY: Why.MANAGED_BY_TRUST_AUTHORITY,
        M.NATIVE_PROVIDER: Why.MANAGED_BY_NKP,
    }
