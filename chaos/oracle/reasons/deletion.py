"""The provider was deleted from vCenter, and nobody has added it again."""

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


REASONS: tuple[LetterReason, ...] = (
    deletion_is_not_blocked,
    vcenter_does_not_know_the_provider,
    from_the_cache_until_the_next_repair,
    there_is_no_default,
    a_recrypt_to_another_provider_needs_the_old_key_only,
    vsan_has_a_profile_of_its_own,
    a_store_does_not_hear_of_a_deletion,
)
