"""Key persistence: what a host stored before the fault, it has after its boot."""

from __future__ import annotations

from chaos.oracle.facts import KeyInMemory, KeyProviderKind, Question, Situation
from chaos.oracle.reasons.base import LetterReason, reason
from chaos.oracle.terms import Letter


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


REASONS: tuple[LetterReason, ...] = (
    the_persisted_host_key_makes_the_host_safe,
    the_key_was_persisted,
    the_keys_of_vsan_are_persisted,
)
