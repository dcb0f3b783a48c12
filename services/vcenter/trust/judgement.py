"""A trusted host's applied configuration against the desired one, and what is told of it. Pure.

| desired | applied | health (HLT-02) | event, once per boot |
|---|---|---|---|
| yes | the same | OK | - |
| yes | another one | ERROR | - |
| yes | none | ERROR | HostNotConfigured (HLT-03) |
| none | any | ERROR: outside of a trusted cluster | DecommissionHost |
| none | none | - | - |
| any | the host does not say | NONE | - |

The attestation of a host is *attested* when one service has attested it, *notAttested* when none
has and one refused, else *unknown* (TA-11).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from protocol.messages.host.crypto import TrustedServiceState
from protocol.messages.host.session import HostSummary, TrustView
from protocol.terms import NodeName, ProviderHealth, ProviderId
from protocol.trust import TrustAttestationStatus, TrustedConfiguration, digest_of
from services.vcenter import events
from services.vcenter.events import EventDraft

NOT_CONFIGURED = "not configured: remediate its cluster"
DIVERGED = "what is applied is not what is desired: remediate its cluster"
OUTSIDE = "configured, and in no trusted cluster: decommission it"


def view_of(summary: HostSummary | None) -> TrustView | None:
    """The trust part of a host's view; None when it is not a trusted host, or did not report it."""
    if summary is None or not isinstance(summary.trusted, TrustView):
        return None
    return summary.trusted


def health_of(
    desired: TrustedConfiguration | None, summary: HostSummary | None
) -> tuple[ProviderHealth, tuple[str, ...]]:
    """Its health with details, by the table."""
    if summary is None:
        return ProviderHealth.NONE, ("it does not say",)
    applied = view_of(summary)
    if desired is None:
        return (ProviderHealth.OK, ()) if applied is None else (ProviderHealth.ERROR, (OUTSIDE,))
    if applied is None:
        return ProviderHealth.ERROR, (NOT_CONFIGURED,)
    if applied.digest != digest_of(desired).hex():
        return ProviderHealth.ERROR, (DIVERGED,)
    return ProviderHealth.OK, ()


def is_behind(desired: TrustedConfiguration | None, summary: HostSummary) -> bool:
    """Whether only the list of providers has changed since the host was configured: vCenter updates
    that by itself. Other services, or another voucher, need remediation."""
    applied = view_of(summary)
    if desired is None or applied is None or applied.revision != desired.revision:
        return False
    return applied.digest != digest_of(desired).hex()


def status_of(view: TrustView | None) -> TrustAttestationStatus | None:
    """The attestation of a host over all services; None for a host that is not trusted."""
    if view is None:
        return None
    there = {report.status for report in view.reports}
    for status in (TrustAttestationStatus.ATTESTED, TrustAttestationStatus.NOT_ATTESTED):
        if status in there:
            return status
    return TrustAttestationStatus.UNKNOWN


def attestation_news(
    host: NodeName, view: TrustView | None, before: str
) -> tuple[str, EventDraft] | None:
    """The new attestation of a host since ``before`` was reported, and its event; None when nothing
    is new. A host that was never attested since it is known has nothing to unset."""
    status = status_of(view)
    now = "" if status is None else status.value
    unset = ("", TrustAttestationStatus.UNKNOWN.value)
    if now == before or (now in unset and before in unset):
        return None
    messages = () if view is None else tuple(m for r in view.reports for m in r.messages)
    return now, events.attestation(host, status, messages)


class Trouble(IntEnum):
    """The trouble of a trusted provider, the worst first (HLT-06)."""

    NOT_AVAILABLE = 0  # it serves no host of the cluster
    UNHEALTHY = 1  # not every service, or not every host, is served
    KMS_UNHEALTHY = 2  # its services do not get the primary key from every key server


@dataclass(frozen=True)
class ServiceHealth:
    """The health of a trusted provider; NONE: unknown."""

    health: ProviderHealth
    trouble: Trouble | None = None
    details: tuple[str, ...] = ()


def summarize_answers(provider: ProviderId, states: Iterable[TrustedServiceState]) -> ServiceHealth:
    """The health by the answers of hosts that asked all services about this provider."""
    mine = [state for state in states if state.provider == provider]
    silent = [state.reason for state in mine if not state.answers]
    if mine and len(silent) == len(mine):
        return ServiceHealth(
            ProviderHealth.ERROR, Trouble.NOT_AVAILABLE, tuple(dict.fromkeys(silent))
        )
    if silent:
        return ServiceHealth(
            ProviderHealth.WARNING, Trouble.UNHEALTHY, tuple(dict.fromkeys(silent))
        )
    bad = (ProviderHealth.WARNING, ProviderHealth.ERROR)
    if wrong := [state.reason for state in mine if state.health in bad]:
        return ServiceHealth(
            ProviderHealth.WARNING, Trouble.KMS_UNHEALTHY, tuple(dict.fromkeys(wrong))
        )
    well = any(state.health is ProviderHealth.OK for state in mine)
    return ServiceHealth(ProviderHealth.OK if well else ProviderHealth.NONE)


def summarize_attestations(views: Iterable[TrustView]) -> ServiceHealth:
    """The health by hosts' attestations: services are silent, or refuse them."""
    seen = [_trouble_of(view) for view in views]
    if not seen:
        return ServiceHealth(ProviderHealth.NONE)
    bad = [why for why in seen if why]
    if not bad:
        return ServiceHealth(ProviderHealth.OK)
    details = tuple(dict.fromkeys(bad))
    if len(bad) == len(seen):
        return ServiceHealth(ProviderHealth.ERROR, Trouble.NOT_AVAILABLE, details)
    return ServiceHealth(ProviderHealth.WARNING, Trouble.UNHEALTHY, details)


def worse(one: ServiceHealth, other: ServiceHealth) -> ServiceHealth:
    """The one with the worse trouble; without any, the known one."""
    if one.trouble is not None and other.trouble is not None:
        return one if one.trouble <= other.trouble else other
    if one.trouble is not None or other.trouble is not None:
        return one if one.trouble is not None else other
    return other if one.health is ProviderHealth.NONE else one


def _trouble_of(view: TrustView) -> str:
    """Why the services of this host do not serve it; empty when they do, or it has asked none
    yet."""
    status = status_of(view)
    if status is TrustAttestationStatus.ATTESTED:
        return ""
    return next((message for report in view.reports for message in report.messages), "")
