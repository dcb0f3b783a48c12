"""Boots: what the TPM guards, what it does not, and what others do meanwhile."""

from __future__ import annotations

from chaos.oracle.facts import Change, KeyProviderKind, Life, Question, Situation
from chaos.oracle.reasons.base import LetterReason, circumstance, reason
from chaos.oracle.terms import Letter

OF_THE_BOOTED = (
    Question.BOOT,
    Question.START,
    Question.RESTART,
    Question.MOVE,
    Question.JOIN,
    Question.MOUNT,
)


@circumstance(17, "CFG-01", "CFG-03")
def without_a_tpm_nothing_notices(s: Situation) -> bool:
    """The configuration is not bound to how the host boots."""
    changed = s.booted and s.change in (Change.POLICY, Change.IMAGE)
    own = s.ask in (Question.BOOT, Question.START, Question.JOIN, Question.MOUNT)
    return own and changed and not s.sealed and s.life is Life.UP


@reason(18, "B2", "POL-01")
def the_policy_does_not_hold(s: Situation) -> Letter | None:
    """Or the sealed state is gone: the boot ends at the purple screen, before any service."""
    return Letter.PURPLE_SCREEN if s.ask is Question.BOOT and s.life is Life.SCREEN else None


@reason(19, "ATT-04", instead_of=(1, 2, 55))
def nothing_is_checked_before_the_next_boot(s: Situation) -> Letter | None:
    """Whatever was changed since: what runs goes on, what is cached serves."""
    if s.change is Change.NOTHING or s.booted:
        return None
    if s.ask is Question.RUN:
        return Letter.OK
    guarded = s.sealed and s.change in (Change.POLICY, Change.TPM)
    judged = s.kind is KeyProviderKind.TRUSTED and s.change is Change.IMAGE
    served = s.ask is Question.START and s.goes_ahead and s.has_key and not s.attestation_blocks
    return Letter.OK if served and (guarded or judged) else None


@reason(20, "BOOT-01")
def the_host_is_down(s: Situation) -> Letter | None:
    """Nothing is started on it, moved to it, made there or mounted."""
    if s.ask in (Question.RUN, Question.BOOT) or (
        s.ask is Question.MOUNT and s.kind is KeyProviderKind.TRUSTED
    ):
        return None
    return Letter.NO if s.life is not Life.UP else None


@circumstance(20, "HA-01", instead_of=(3, 12, 40, 58, 59))
def others_take_over(s: Situation) -> bool:
    """One host stands at its screen; the others are as if nothing was wrong."""
    asked = s.ask in (
        Question.RESTART,
        Question.MOVE,
        Question.CREATE,
        Question.RECRYPT,
        Question.JOIN,
    )
    return asked and s.another_stopped and s.life is Life.UP


@circumstance(21, "POL-02", "ATT-09")
def the_policy_does_not_cover_what_changed(s: Situation) -> bool:
    """The image is measured, not sealed to; only vCenter's alarm tells."""
    changed = s.sealed and s.booted and s.change is Change.IMAGE
    own = s.ask in OF_THE_BOOTED and s.life is Life.UP
    return own and changed and s.kind is not KeyProviderKind.TRUSTED


REASONS: tuple[LetterReason, ...] = (
    without_a_tpm_nothing_notices,
    the_policy_does_not_hold,
    nothing_is_checked_before_the_next_boot,
    the_host_is_down,
    others_take_over,
    the_policy_does_not_cover_what_changed,
)
