"""What a trusted host reports about itself: its applied configuration, and its attestation.
Pure."""

from __future__ import annotations

import msgspec

from protocol.messages.host import TrustView
from protocol.trust import (
    HostTrustReport,
    TrustAttestationStatus,
    TrustedConfiguration,
    digest_of,
)
from services.esxi.providers.trusted.state import TrustState


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
