"""Trust Authority: what both vCenters say of it."""

from __future__ import annotations

import msgspec

from lab.schema.answers.base import Answer
from protocol.messages.vcenter import TrustItemHealth
from protocol.terms import ClusterName, NodeName, ProviderHealth
from protocol.trust import HostTrustReport


class TrustAdmins(msgspec.Struct, frozen=True, kw_only=True):
    """The members of TrustedAdmins at one vCenter."""

    vcenter: NodeName
    members: tuple[str, ...]


class TrustAdminList(Answer, frozen=True, kw_only=True):
    """Of each vCenter that was asked."""

    items: tuple[TrustAdmins, ...]


class TrustFile(Answer, frozen=True, kw_only=True):
    """A file that was written or read: what is in it, and of whom."""

    item: str
    of: str
    file: str


class TrustAuthority(Answer, frozen=True, kw_only=True):
    """A Trust Authority; ``group`` is empty when it is not enabled. ``silent`` services have not
    taken, or do not tell, what is configured."""

    cluster: ClusterName
    group: str
    require_endorsement_keys: bool
    require_certificate_validation: bool
    warnings: tuple[str, ...] = ()
    silent: tuple[NodeName, ...] = ()
    items: tuple[TrustItemHealth, ...] = ()


class TrustedHostState(msgspec.Struct, frozen=True, kw_only=True):
    """A host: its applied configuration against the desired one, and its attestation."""

    host: NodeName
    cluster: ClusterName
    health: ProviderHealth
    attestation: str
    details: tuple[str, ...] = ()
    reports: tuple[HostTrustReport, ...] = ()


class TrustedHostList(Answer, frozen=True, kw_only=True):
    """Hosts by name. ``stale_principal``: what the Trust Authority knows of this vCenter is old."""

    clusters: tuple[ClusterName, ...]
    stale_principal: bool = False
    items: tuple[TrustedHostState, ...] = ()
