"""Reasons of keys that are lost.

The provider was deleted from vCenter, and nobody has added it again (R23 to R28, R38). The key is
gone at its source: destroyed, deactivated, or under a primary key that is (R29 to R34, R39).
"""

from __future__ import annotations

from chaos.oracle.facts import Kdk, KeyInMemory, KeyProviderKind, Question, Situation
from chaos.oracle.reasons.base import LetterReason, lacks, reason, works
from chaos.oracle.terms import Letter


@reason(23, "DEL-01", "NKP-17", instead_of=(1,))
def deletion_is_not_blocked(s: Situation) -> Letter | None:
    """What runs goes on; what was powered off, or whose host booted, does not start."""
    if s.listed:
        return None
    if s.ask is Question.RUN:
        return Letter.OK
    if s.kind is KeyProviderKind.STANDARD:
        lacking = not s.has_key and s.vcenter_here
    else:
        lacking = s.kind is KeyProviderKind.NATIVE and s.kdk is Kdk.ABSENT and not s.has_key
    return Letter.LOCKED if s.ask is Question.START and s.goes_ahead and lacking else None


@reason(24, "LOCK-06", "STD-02")
def vcenter_does_not_know_the_provider(s: Situation) -> Letter | None:
    """So it cannot pull what is missing."""
    pulls = (
        s.ask in (Question.BOOT, Question.RESTART, Question.MOVE)
        and s.kind is KeyProviderKind.STANDARD
    )
    if not pulls or s.listed or s.has_key or not s.goes_ahead or not s.vcenter_here:
        return None
    return None if s.ask is Question.BOOT and s.renewable else lacks(s)


@reason(25, "C4", "DEL-02", instead_of=(2, 3, 7, 10, 23, 24, 52, 55, 64))
def from_the_cache_until_the_next_repair(s: Situation) -> Letter | None:
    """Keys of a deleted provider stay for the grace, then vCenter's repair takes them away."""
    asked = s.starts or s.ask is Question.MOVE
    if not asked or s.listed or not s.goes_ahead or s.attestation_blocks:
        return None
    if s.held in (KeyInMemory.CACHED, KeyInMemory.PUSHED):
        return Letter.OK
    return lacks(s) if s.evicted and not s.has_key else None


@reason(26, "STD-02")
def there_is_no_default(s: Situation) -> Letter | None:
    """Or no provider of the name that was given."""
    asked = s.ask is Question.CREATE or (s.ask is Question.RECRYPT and not s.to_another)
    return Letter.NO if asked and s.vcenter and not s.default and not s.on_host else None


@reason(27, "REK-01", "REK-05", instead_of=(2, 10, 29))
def a_recrypt_to_another_provider_needs_the_old_key_only(s: Situation) -> Letter | None:
    """It must be in the cache of the host in charge."""
    if s.ask is not Question.RECRYPT or not s.to_another or not s.goes_ahead:
        return None
    return Letter.OK if s.has_key else Letter.NO


@reason(28, "C26", "STD-06")
def vsan_has_a_profile_of_its_own(s: Situation) -> Letter | None:
    """Where the deletion was not refused, it took the profile from the hosts."""
    gone = s.ask is Question.MOUNT and s.kind is KeyProviderKind.STANDARD and not s.listed
    return Letter.NO if gone and s.goes_ahead and not s.mounts_from_store else None


@reason(38, "C4", "C10", "KP-17", instead_of=(35, 36, 37))
def a_store_does_not_hear_of_a_deletion(s: Situation) -> Letter | None:
    """What was loaded from it serves, until vCenter's repair takes it away."""
    if s.listed or s.held is not KeyInMemory.LOADED or not s.goes_ahead:
        return None
    if s.ask is Question.MOUNT:
        return Letter.OK if s.mounts_from_store and s.kind is KeyProviderKind.STANDARD else None
    serves = s.ask is Question.BOOT or (s.starts and not s.attestation_blocks)
    return works(s) if serves else None


DELETION_REASONS: tuple[LetterReason, ...] = (
    deletion_is_not_blocked,
    vcenter_does_not_know_the_provider,
    from_the_cache_until_the_next_repair,
    there_is_no_default,
    a_recrypt_to_another_provider_needs_the_old_key_only,
    vsan_has_a_profile_of_its_own,
    a_store_does_not_hear_of_a_deletion,
)


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


GONE_REASONS: tuple[LetterReason, ...] = (
    who_has_it_goes_on_and_who_must_fetch_it_cannot,
    the_host_key_is_another_key,
    other_and_new_keys_are_not_affected,
    a_recrypt_while_some_host_has_the_old_key,
    a_new_host_gets_every_key_but_this_one,
    the_vsan_key_is_the_one_that_is_gone,
    the_host_asks_nobody,
)
