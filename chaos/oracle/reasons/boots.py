"""Boots: what the TPM guards, what it does not, and what others do meanwhile."""

from __future__ import annotations

from chaos.oracle.facts import Ask, Change, Kind, Life, Situation
from chaos.oracle.reasons.base import Reason, circumstance, reason
from chaos.oracle.terms import Letter

OF_THE_BOOTED = (Ask.BOOT, Ask.START, Ask.RESTART, Ask.MOVE, Ask.JOIN, Ask.MOUNT)


@circumstance(17, "CFG-01", "CFG-03")
def without_a_tpm_nothing_notices(s: Situation) -> bool:
    """The configuration is not bound to how the host boots."""
    changed = s.booted and s.change in (Change.POLICY, Change.IMAGE)
    own = s.ask in (Ask.BOOT, Ask.START, Ask.JOIN, Ask.MOUNT)
    return own and changed and not s.sealed and s.life is Life.UP


@reason(18, "B2", "POL-01")
def the_policy_does_not_hold(s: Situation) -> Letter | None:
    """Or the sealed state is gone: the boot ends at the purple screen, before any service."""
    return Letter.PURPLE_SCREEN if s.ask is Ask.BOOT and s.life is Life.SCREEN else None


@reason(19, "ATT-04", instead_of=(1, 2, 55))
def nothing_is_checked_before_the_next_boot(s: Situation) -> Letter | None:
    """Whatever was changed since: what runs goes on, what is cached serves."""
    if s.change is Change.NOTHING or s.booted:
        return None
    if s.ask is Ask.RUN:
        return Letter.OK
    guarded = s.sealed and s.change in (Change.POLICY, Change.TPM)
    judged = s.kind is Kind.TRUSTED and s.change is Change.IMAGE
    served = s.ask is Ask.START and s.goes_ahead and s.has_key and not s.attestation_blocks
    return Letter.OK if served and (guarded or judged) else None


@reason(20, "BOOT-01")
def the_host_is_down(s: Situation) -> Letter | None:
    """Nothing is started on it, moved to it, made there or mounted."""
    if s.ask in (Ask.RUN, Ask.BOOT) or (s.ask is Ask.MOUNT and s.kind is Kind.TRUSTED):
        return None
    return Letter.NO if s.life is not Life.UP else None


@circumstance(20, "HA-01", instead_of=(3, 12, 40, 58, 59))
def others_take_over(s: Situation) -> bool:
    """One host stands at its screen; the others are as if nothing was wrong."""
    asked = s.ask in (Ask.RESTART, Ask.MOVE, Ask.CREATE, Ask.RECRYPT, Ask.JOIN)
    return asked and s.another_stopped and s.life is Life.UP


@circumstance(21, "POL-02", "ATT-09")
def the_policy_does_not_cover_what_changed(s: Situation) -> bool:
    """The image is measured, not sealed to; only vCenter's alarm tells."""
    changed = s.sealed and s.booted and s.change is Change.IMAGE
    own = s.ask in OF_THE_BOOTED and s.life is Life.UP
    return own and changed and s.kind is not Kind.TRUSTED


REASONS: tuple[Reason, ...] = (
    without_a_tpm_nothing_notices,
    the_policy_does_not_hold,
    nothing_is_checked_before_the_next_boot,
    the_host_is_down,
    others_take_over,
    the_policy_does_not_cover_what_changed,
)
