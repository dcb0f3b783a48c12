"""Reasons of the standard provider (R1 to R14): keys are in caches, or come from the key server
through vCenter. vSAN (R15, R16): hosts ask the key server themselves. Key persistence (R35 to
R37): what a host stored before the fault, it has after its boot.
"""

from __future__ import annotations

from chaos.oracle.facts import Kdk, KeyInMemory, KeyProviderKind, Question, Situation
from chaos.oracle.reasons.base import LetterReason, lacks, reason
from chaos.oracle.terms import Letter

OF_ONE_KEY = (Question.START, Question.RESTART, Question.MOVE)


def _lacking(s: Situation) -> bool:
    return s.kind is KeyProviderKind.STANDARD and s.goes_ahead and not s.has_key


@reason(1, "LOCK-04", "VTPM-05")
def a_running_vm_needs_nothing(s: Situation) -> Letter | None:
    """Its data keys are in its host's memory."""
    return Letter.OK if s.ask is Question.RUN else None


@reason(2, "STD-12", "STD-13")
def the_key_is_in_the_cache(s: Situation) -> Letter | None:
    """Nobody else is asked."""
    if not s.starts or not s.goes_ahead or s.held is not KeyInMemory.CACHED:
        return None
    derived = s.kind is KeyProviderKind.NATIVE and s.kdk is not Kdk.ABSENT
    return None if derived or s.attestation_blocks else Letter.OK


@reason(3, "B8", "STD-14")
def vcenter_filled_the_cache_again(s: Situation) -> Letter | None:
    """The boot emptied it; vCenter fetched host key and VM keys and pushed them."""
    if s.kind is not KeyProviderKind.STANDARD or not s.goes_ahead:
        return None
    if s.ask is Question.JOIN:
        return Letter.OK if s.vcenter_can_bring else None
    if s.ask is Question.BOOT:
        came = s.held in (KeyInMemory.PUSHED, KeyInMemory.CACHED)
        return Letter.SAFE if came or (not s.has_key and s.vcenter_can_bring) else None
    return Letter.OK if s.starts and s.held is KeyInMemory.PUSHED else None


@reason(4, "LOCK-01", "MOB-04")
def vcenter_brings_the_missing_key(s: Situation) -> Letter | None:
    """The operation goes on, or is tried again."""
    return Letter.OK if _lacking(s) and s.ask in OF_ONE_KEY and s.vcenter_can_bring else None


@reason(5, "B5", "HEM-07")
def the_host_key_cannot_be_had(s: Situation) -> Letter | None:
    """vCenter reaches no key server; the host is up and not safe."""
    if s.ask is Question.BOOT and _lacking(s) and s.vcenter_here and s.listed and not s.kms:
        return None if s.renewable else Letter.UNSAFE
    return None


@reason(6, "LOCK-01", "STD-13")
def the_key_is_in_no_place_that_can_be_reached(s: Situation) -> Letter | None:
    """The cache is cold and no key server answers vCenter."""
    cut_off = s.vcenter_here and s.listed and not s.kms
    return Letter.LOCKED if s.starts and _lacking(s) and cut_off else None


@reason(7, "STD-06", "BOOT-03")
def only_vcenter_could_bring_the_key(s: Situation) -> Letter | None:
    """It is down, or does not reach the host."""
    if (
        s.ask in (Question.BOOT, Question.START, Question.RESTART)
        and _lacking(s)
        and not s.vcenter_here
    ):
        return lacks(s)
    return None


@reason(10, "MOB-04")
def the_target_has_the_key(s: Situation) -> Letter | None:
    """Nothing is pulled."""
    if s.ask is Question.MOVE and s.goes_ahead and s.has_key and not s.attestation_blocks:
        return Letter.OK
    return None


@reason(11, "MOB-04")
def vcenter_cannot_pull_for_the_target(s: Situation) -> Letter | None:
    """The key would have to come from a key server, and none answers."""
    return Letter.NO if s.ask is Question.MOVE and _lacking(s) and s.listed and not s.kms else None


@reason(12, "STD-16")
def the_key_server_makes_the_new_key(s: Situation) -> Letter | None:
    """It is asked for one, by vCenter."""
    if (
        s.kind is not KeyProviderKind.STANDARD
        or s.ask not in (Question.CREATE, Question.RECRYPT)
        or s.to_another
    ):
        return None
    if not s.kms:
        return Letter.NO
    return Letter.OK if s.goes_ahead and s.default and s.listed else None


@reason(13, "MOB-03")
def vcenter_leads_the_operation(s: Situation) -> Letter | None:
    """It is down, or does not reach the host."""
    led = s.ask in (Question.MOVE, Question.CREATE, Question.RECRYPT, Question.JOIN)
    return Letter.NO if led and not s.vcenter_here and not s.on_host else None


@reason(14, "HEM-02", "STD-12")
def the_host_joins_and_its_keys_cannot_come(s: Situation) -> Letter | None:
    """It stays prepared until the provider can be used."""
    waits = s.kind is KeyProviderKind.STANDARD and not (s.kms and s.listed)
    return Letter.PARTLY if s.ask is Question.JOIN and s.goes_ahead and waits else None


STANDARD_REASONS: tuple[LetterReason, ...] = (
    a_running_vm_needs_nothing,
    the_key_is_in_the_cache,
    vcenter_filled_the_cache_again,
    vcenter_brings_the_missing_key,
    the_host_key_cannot_be_had,
    the_key_is_in_no_place_that_can_be_reached,
    only_vcenter_could_bring_the_key,
    the_target_has_the_key,
    vcenter_cannot_pull_for_the_target,
    the_key_server_makes_the_new_key,
    vcenter_leads_the_operation,
    the_host_joins_and_its_keys_cannot_come,
)


@reason(15, "VSAN-03")
def the_host_asks_the_key_server_itself(s: Situation) -> Letter | None:
    """Host key first, then the key of the disk groups."""
    asks = s.ask is Question.MOUNT and s.kind is KeyProviderKind.STANDARD and s.goes_ahead
    return Letter.OK if asks and s.kms_from_host and s.listed and s.key_usable else None


@reason(16, "VSAN-04", "VSAN-08")
def the_host_reaches_no_key_server(s: Situation) -> Letter | None:
    """It is up, its disk groups are not mounted."""
    asks = s.ask is Question.MOUNT and s.kind is KeyProviderKind.STANDARD and s.goes_ahead
    unreached = s.listed and not s.kms_from_host
    return Letter.NO if asks and unreached and not s.mounts_from_store else None


VSAN_REASONS: tuple[LetterReason, ...] = (
    the_host_asks_the_key_server_itself,
    the_host_reaches_no_key_server,
)


@reason(35, "KP-07", "B5")
def the_persisted_host_key_makes_the_host_safe(s: Situation) -> Letter | None:
    """Without anybody's help."""
    loaded = s.held is KeyInMemory.LOADED and s.kind is not KeyProviderKind.NATIVE
    return Letter.SAFE if s.ask is Question.BOOT and s.goes_ahead and loaded else None


@reason(36, "KP-07", "KP-14")
def the_key_was_persisted(s: Situation) -> Letter | None:
    """It was loaded at boot."""
    loaded = s.held is KeyInMemory.LOADED and s.kind is not KeyProviderKind.NATIVE
    return Letter.OK if s.starts and s.goes_ahead and loaded and not s.attestation_blocks else None


@reason(37, "KP-08", "VSAN-07")
def the_keys_of_vsan_are_persisted(s: Situation) -> Letter | None:
    """From 7.0 U3 on."""
    asked = s.ask is Question.MOUNT and s.kind is KeyProviderKind.STANDARD
    return Letter.OK if asked and s.goes_ahead and s.mounts_from_store else None


PERSISTENCE_REASONS: tuple[LetterReason, ...] = (
    the_persisted_host_key_makes_the_host_safe,
    the_key_was_persisted,
    the_keys_of_vsan_are_persisted,
)
