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

from protocol.messages.host import HostSummary, TrustView
from protocol.terms import NodeName, ProviderHealth
from protocol.trust import TrustAttestationStatus, TrustedConfiguration, digest_of
from services.vcenter.events import Draft
from services.vcenter.trust import told

NOT_CONFIGURED = "not configured: remediate its cluster"
DIVERGED = "what is applied is not what is desired: remediate its cluster"
OUTSIDE = "configured, and in no trusted cluster: decommission it"


def view_of(summary: HostSummary | None) -> TrustView | None:
    """What a host says of its trust; None when it is no trusted host, or does not say."""
    if summary is None or not isinstance(summary.trusted, TrustView):
        return None
    return summary.trusted


def health_of(
    desired: TrustedConfiguration | None, summary: HostSummary | None
) -> tuple[ProviderHealth, tuple[str, ...]]:
    """Its health with details, as the table says."""
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
    """Whether only the list of providers has changed since the host was configured: vCenter sees to
    that by itself. Other services, or another voucher, are for remediation."""
    applied = view_of(summary)
    if desired is None or applied is None or applied.revision != desired.revision:
        return False
    return applied.digest != digest_of(desired).hex()


def status_of(view: TrustView | None) -> TrustAttestationStatus | None:
    """The attestation of a host over all services; None of one that is no trusted host."""
    if view is None:
        return None
    there = {report.status for report in view.reports}
    for status in (TrustAttestationStatus.ATTESTED, TrustAttestationStatus.NOT_ATTESTED):
        if status in there:
            return status
    return TrustAttestationStatus.UNKNOWN


def attestation_news(
    host: NodeName, view: TrustView | None, before: str
) -> tuple[str, Draft] | None:
    """What is to be told of a host of which ``before`` was told last, and its event; None when
    there is nothing new. A host that was never attested since it is known has nothing to unset."""
    status = status_of(view)
    now = "" if status is None else status.value
    unset = ("", TrustAttestationStatus.UNKNOWN.value)
    if now == before or (now in unset and before in unset):
        return None
    messages = () if view is None else tuple(m for r in view.reports for m in r.messages)
    return now, told.attested(host, status, messages)


def provider_health(views: Iterable[TrustView]) -> tuple[ProviderHealth, tuple[str, ...]]:
    """Of a trusted provider, by what its hosts say: their services are silent, or refuse them."""
    seen = [_troubled(view) for view in views]
    if not seen:
        return ProviderHealth.NONE, ()
    bad = [why for why in seen if why]
    if not bad:
        return ProviderHealth.OK, ()
    health = ProviderHealth.ERROR if len(bad) == len(seen) else ProviderHealth.WARNING
    return health, tuple(dict.fromkeys(bad))


def _troubled(view: TrustView) -> str:
    """Why the services of this host do not serve it; empty when they do, or it asked none yet."""
    status = status_of(view)
    if status is TrustAttestationStatus.ATTESTED:
        return ""
    return next((message for report in view.reports for message in report.messages), "")
