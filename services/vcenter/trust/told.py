"""Events of Trust Authority: drafts with their texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from protocol.events import EventTypeId
from protocol.terms import ClusterName, NodeName, ProviderId
from protocol.trust import TrustAttestationStatus
from services.vcenter.events import EventDraft


def not_configured(host: NodeName, cluster: ClusterName) -> EventDraft:
    """A host of a trusted cluster without a configuration (HLT-03)."""
    text = f"Host {host} is in the trusted cluster {cluster} and is not configured: remediate it"
    return EventDraft(event=EventTypeId.TA_HOST_NOT_CONFIGURED, text=text, host=host)


def decommission(host: NodeName) -> EventDraft:
    """A host that keeps a configuration outside of a trusted cluster (HLT-03)."""
    text = f"Host {host} has a trusted configuration and is in no trusted cluster: decommission it"
    return EventDraft(event=EventTypeId.TA_DECOMMISSION_HOST, text=text, host=host)


def certificate_changed(vcenter: NodeName) -> EventDraft:
    """The principal that a Trust Authority has imported is stale (HLT-05)."""
    text = f"The STS certificate of {vcenter} has changed: import its principal again, remediate"
    return EventDraft(event=EventTypeId.TA_STS_CERTIFICATES_CHANGE, text=text)


def attestation(
    host: NodeName, status: TrustAttestationStatus | None, messages: Sequence[str]
) -> EventDraft:
    """A Trust Authority's result for a host (ATT-05)."""
    why = f": {'; '.join(dict.fromkeys(messages))}" if messages else ""
    match status:
        case TrustAttestationStatus.ATTESTED:
            event, text = EventTypeId.TA_HOST_ATTEST_PASS, f"Host {host} was attested"
        case TrustAttestationStatus.NOT_ATTESTED:
            event, text = EventTypeId.TA_HOST_ATTEST_FAIL, f"Host {host} is not attested{why}"
        case _:
            event = EventTypeId.TA_HOST_ATTEST_UNSET
            text = f"The attestation of host {host} is not known{why}"
    return EventDraft(event=event, text=text, host=host)


def provider(name: ProviderId, event: EventTypeId, details: Sequence[str]) -> EventDraft:
    """A trusted provider is in trouble (HLT-06)."""
    text = f"The Trust Authority of key provider {name} {_HOW[event]}: {'; '.join(details)}"
    return EventDraft(event=event, text=text, provider=name)


_HOW: Final = {
    EventTypeId.KMS_TA_CLUSTER_NOT_AVAILABLE: "is not available",
    EventTypeId.KMS_TA_CLUSTER_UNHEALTHY: "is not healthy",
    EventTypeId.KMS_TA_KMS_UNHEALTHY: "has key servers that are not healthy",
}
