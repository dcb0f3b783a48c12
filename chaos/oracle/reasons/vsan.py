"""vSAN encryption: hosts ask the key server themselves, vCenter is not in the path."""

from __future__ import annotations

from chaos.oracle.facts import KeyProviderKind, Question, Situation
from chaos.oracle.reasons.base import LetterReason, reason
from chaos.oracle.terms import Letter


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


REASONS: tuple[LetterReason, ...] = (
    the_host_asks_the_key_server_itself,
    the_host_reaches_no_key_server,
)
