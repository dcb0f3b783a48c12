"""The key is gone at its source: destroyed, deactivated, or under a primary key that is."""

from __future__ import annotations

from chaos.oracle.facts import Kdk, KeyInMemory, KeyProviderKind, Question, Situation
from chaos.oracle.reasons.base import LetterReason, lacks, reason
from chaos.oracle.terms import Letter


@reason(29, "STD-19", instead_of=(1, 2, 3, 10))
def who_has_it_goes_on_and_who_must_fetch_it_cannot(s: Situation) -> Letter | None:
    """vCenter brings Active keys only."""
    if s.kind is not KeyProviderKind.STANDARD or s.key_usable:
        return None
    if s.ask is Question.RUN:
        return Letter.OK
    if not (s.starts or s.ask is Question.MOVE) or not s.goes_ahead:
        return None
    if s.has_key:
        return None if s.held is KeyInMemory.LOADED else Letter.OK
    return lacks(s) if s.vcenter_here and s.kms and s.listed else None


@reason(30, "HEM-06", "HEM-07", instead_of=(3,))
def the_host_key_is_another_key(s: Situation) -> Letter | None:
    """It comes normally. If it is the one that is gone, vCenter makes a new one where it can."""
    if s.kind is KeyProviderKind.NATIVE and s.host_key_renewed:
        return Letter.SAFE if s.goes_ahead and s.kdk_at_hand is not Kdk.RIGHT else None
    if s.ask is not Question.BOOT or s.kind is not KeyProviderKind.STANDARD or not s.goes_ahead:
        return None
    if s.held in (KeyInMemory.CACHED, KeyInMemory.PUSHED):
        return Letter.SAFE if s.other_key_gone else None
    if s.has_key or not s.vcenter_here or s.vcenter_can_bring:
        return None
    if s.renewable:
        return Letter.SAFE
    missing = s.kms and s.listed and not s.key_usable
    return (Letter.SAFE if s.default else Letter.UNSAFE) if missing else None


@reason(31, "STD-19", instead_of=(12,))
def other_and_new_keys_are_not_affected(s: Situation) -> Letter | None:
    """A new VM has a new key."""
    asked = s.ask is Question.CREATE and s.kind is KeyProviderKind.STANDARD and s.other_key_gone
    return Letter.OK if asked and s.goes_ahead and s.kms and s.default and s.listed else None


@reason(32, "REK-01", "STD-19", instead_of=(12,))
def a_recrypt_while_some_host_has_the_old_key(s: Situation) -> Letter | None:
    """The documented remedy."""
    if (
        s.ask is not Question.RECRYPT
        or s.kind is not KeyProviderKind.STANDARD
        or s.key_usable
        or s.to_another
    ):
        return None
    ready = s.goes_ahead and s.kms and s.default and s.listed and s.has_key
    return Letter.OK if ready else None


@reason(33, "STD-12", instead_of=(3,))
def a_new_host_gets_every_key_but_this_one(s: Situation) -> Letter | None:
    """The others, and the host key, come."""
    asked = s.ask is Question.JOIN and s.kind is KeyProviderKind.STANDARD and not s.key_usable
    return Letter.PARTLY if asked and s.goes_ahead and s.kms and s.listed else None


@reason(34, "VSAN-04")
def the_vsan_key_is_the_one_that_is_gone(s: Situation) -> Letter | None:
    """A host that booted cannot mount."""
    asked = s.ask is Question.MOUNT and s.kind is KeyProviderKind.STANDARD and not s.key_usable
    lacking = s.kms_from_host and not s.mounts_from_store
    return Letter.NO if asked and s.goes_ahead and lacking else None


@reason(39, "KP-09", "SC-12", instead_of=(36, 37))
def the_host_asks_nobody(s: Situation) -> Letter | None:
    """So it does not learn that the key which it had persisted is destroyed."""
    if s.key_usable or s.held is not KeyInMemory.LOADED or not s.goes_ahead:
        return None
    if s.ask is Question.MOUNT:
        return Letter.OK if s.mounts_from_store and s.kind is KeyProviderKind.STANDARD else None
    return Letter.OK if s.starts and not s.attestation_blocks else None


REASONS: tuple[LetterReason, ...] = (
    who_has_it_goes_on_and_who_must_fetch_it_cannot,
    the_host_key_is_another_key,
    other_and_new_keys_are_not_affected,
    a_recrypt_while_some_host_has_the_old_key,
    a_new_host_gets_every_key_but_this_one,
    the_vsan_key_is_the_one_that_is_gone,
    the_host_asks_nobody,
)
