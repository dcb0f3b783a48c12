"""Trust Authority: what both vCenters say of it."""

from __future__ import annotations

import msgspec

from lab.schema.answers.base import Answer
from lab.schema.tables import ColumnTable, field
from protocol.messages.vcenter import TrustItemHealth
from protocol.terms import ClusterName, NodeName, ProviderHealth
from protocol.trust import HostTrustReport, TrustAttestationStatus


class TrustAdmins(msgspec.Struct, frozen=True, kw_only=True):
    """The members of TrustedAdmins at one vCenter."""

    vcenter: NodeName
    members: tuple[str, ...]

    table = ColumnTable("vcenter", (field("vcenter"), field("members")))


class TrustAdminList(Answer, frozen=True, kw_only=True):
    """Of each vCenter that was asked."""

    items: tuple[TrustAdmins, ...]


class TrustFile(Answer, frozen=True, kw_only=True):
    """A file that was written or read: what is in it, and of whom."""

    item: str
    of: str
    file: str

    table = ColumnTable("file", (field("item"), field("of"), field("file")))


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

    table = ColumnTable("name", (field("kind"), field("name"), field("health"), field("details")))

    def remarks(self) -> tuple[str, ...]:
        told = [f"warning: {warning}" for warning in self.warnings]
        if self.silent:
            names = ", ".join(self.silent)
            told.append(f"warning: no answer from {names}; they get it when they do")
        return tuple(told)


class TrustedHostState(msgspec.Struct, frozen=True, kw_only=True):
    """A host: its applied configuration against the desired one, and its attestation."""

    host: NodeName
    cluster: ClusterName
    health: ProviderHealth
    attestation: str
    details: tuple[str, ...] = ()
    reports: tuple[HostTrustReport, ...] = ()

    table = ColumnTable(
        "host",
        (
            field("host"),
            field("cluster"),
            field("health", "APPLIED"),
            field("attestation"),
            ("DETAILS", lambda host: host.list_flaws()),
        ),
    )

    def list_flaws(self) -> tuple[str, ...]:
        """What is wrong with its configuration; of one that nobody has attested, also why not."""
        attested = self.attestation == TrustAttestationStatus.ATTESTED
        why = () if attested else (text for report in self.reports for text in report.messages)
        return (*self.details, *dict.fromkeys(why))


class TrustedHostList(Answer, frozen=True, kw_only=True):
    """Hosts by name. ``stale_principal``: what the Trust Authority knows of this vCenter is old."""

    clusters: tuple[ClusterName, ...]
    stale_principal: bool = False
    items: tuple[TrustedHostState, ...] = ()

    def remarks(self) -> tuple[str, ...]:
        if not self.stale_principal:
            return ()
        text = "the STS certificate was renewed: import its principal again, and remediate"
        return (f"warning: {text}",)
