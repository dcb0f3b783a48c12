"""The state of a trusted host's attestation, in memory only; what the host reports about it; and
whether an unattested host may power a VM on (ATT-06, C6, C7).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, assert_never

import msgspec

from protocol.messages.host.session import TrustView
from protocol.terms import CryptoKeyId, NodeName
from protocol.tpm.structures import PublicArea
from protocol.trust import (
    HostTrustReport,
    TpmIdentity,
    TrustAttestationStatus,
    TrustedConfiguration,
    digest_of,
)


class AttestationOutcome(StrEnum):
    """The result of an attestation."""

    ATTESTED = "attested"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True)
class HeldToken:
    """A token and its validity, in lab seconds of the monotonic clock, which is never skewed. The
    service has set the duration by its own clock."""

    token: bytes
    service: NodeName
    since: float
    until: float

    @property
    def renewed_at(self) -> float:
        """When a host that renews ahead attests again: with a tenth of the token's life left
        (C12)."""
        return self.until - (self.until - self.since) / 10


@dataclass
class TrustState:
    """The attestation state of one life.

    ``tokens`` by group. ``unobtainable``: keys that were requested in vain in this life, which is
    why their VMs are locked; a key that was not requested yet locks nothing (KPS-02). ``shown``:
    the TPM's own keys, which stay the same for the whole life. ``good``: by group, the Key Provider
    Service that answered last. ``doubted``: by group, the Attestation Service whose token was
    rejected last; it is asked after the others. ``renewing``: groups whose token is renewed ahead.
    ``attestations``: how many have ended; ``in_vain``: by group, the last one that brought no
    token, with its number.
    """

    tokens: dict[str, HeldToken] = field(default_factory=dict)
    reports: dict[NodeName, HostTrustReport] = field(default_factory=dict)
    unobtainable: set[CryptoKeyId] = field(default_factory=set)
    good: dict[str, NodeName] = field(default_factory=dict)
    doubted: dict[str, NodeName] = field(default_factory=dict)
    shown: tuple[TpmIdentity, PublicArea] | None = None
    attesting: asyncio.Lock = field(default_factory=asyncio.Lock)
    retrying: bool = False
    renewing: set[str] = field(default_factory=set)
    attestations: int = 0
    in_vain: dict[str, tuple[int, AttestationOutcome]] = field(default_factory=dict)

    def find_token(self, group: str, now: float) -> HeldToken | None:
        """The token of a group, while it is valid."""
        found = self.tokens.get(group)
        return found if found is not None and now < found.until else None

    def record_attestation(self, group: str, outcome: AttestationOutcome) -> None:
        """Record that an attestation with services of that group has ended."""
        self.attestations += 1
        self.in_vain.pop(group, None)
        if outcome is not AttestationOutcome.ATTESTED:
            self.in_vain[group] = self.attestations, outcome

    def in_vain_since(self, group: str, came: int) -> AttestationOutcome | None:
        """The result of that group's last attestation, if it failed and ended after attestation
        number ``came``."""
        number, outcome = self.in_vain.get(group, (0, None))
        return outcome if number > came else None


def reports(now: TrustedConfiguration | None, trust: TrustState) -> tuple[HostTrustReport, ...]:
    """The result of each Attestation Service of the configuration in this life (ATT-05)."""
    return tuple(
        trust.reports.get(record.node)
        or HostTrustReport(service=record.node, status=TrustAttestationStatus.UNKNOWN)
        for record in (() if now is None else now.attestation_services)
    )


def view(now: TrustedConfiguration | None, trust: TrustState) -> TrustView | msgspec.UnsetType:
    """The trusted part of the host's view; None when it is not a trusted host."""
    if now is None:
        return msgspec.UNSET
    digest = digest_of(now).hex()
    return TrustView(revision=now.revision, digest=digest, reports=reports(now, trust))


Overrides = Literal["always", "unreachable_only", "never"]
Blocks = Literal["encrypted", "all"]


def is_concerned(blocks: Blocks, *, of_trusted_provider: bool) -> bool:
    """Whether attestation decides about a VM; ``of_trusted_provider``: it has a key of one."""
    match blocks:
        case "encrypted":
            return of_trusted_provider
        case "all":
            return True
        case _:
            assert_never(blocks)


def is_allowed(overrides: Overrides, outcome: AttestationOutcome) -> bool:
    """Whether a concerned VM may be powered on."""
    match overrides:
        case "always":
            return True
        case "unreachable_only":
            return outcome is not AttestationOutcome.REFUSED
        case "never":
            return outcome is AttestationOutcome.ATTESTED
        case _:
            assert_never(overrides)
