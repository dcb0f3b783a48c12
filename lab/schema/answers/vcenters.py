"""Answers of vCenters: backups, roles with their users, and what both vCenters say of a Trust
Authority.
"""

from __future__ import annotations

import msgspec

from lab.schema.answers.base import Answer, MachineState
from lab.schema.tables import ColumnTable, field
from protocol.authorization import Privilege
from protocol.messages.vcenter.trust import TrustItemHealth
from protocol.terms import ClusterName, NodeName, ProviderHealth, ProviderId
from protocol.trust import HostTrustReport, TrustAttestationStatus


class VcenterCopy(Answer, frozen=True, kw_only=True):
    """A backup that was taken of a vCenter, or restored to it; ``machine`` is its state now.

    ``gone``: key providers that it does not know any more, by what was restored.
    """

    vcenter: NodeName
    backup: str
    machine: MachineState
    gone: tuple[ProviderId, ...] = ()

    table = ColumnTable("backup", (field("backup"), field("vcenter")))

    def remarks(self) -> tuple[str, ...]:
        if not self.gone:
            return ()
        return (f"warning: it does not know the key providers {', '.join(self.gone)} any more",)


_FEW = 3  # privileges that a line of a table has room for


class PermissionRole(msgspec.Struct, frozen=True, kw_only=True):
    """A role; ``system``: vCenter came with it. ``without``: the privileges that it lacks."""

    role: str
    system: bool
    privileges: tuple[Privilege, ...]
    without: tuple[Privilege, ...]

    table = ColumnTable(
        "role",
        (
            field("role"),
            field("system"),
            ("PRIVILEGES", lambda role: len(role.privileges)),
            ("LACKS", lambda role: role.describe_lack()),
        ),
        wide=(("HAS", lambda role: [str(one) for one in role.privileges]),),
    )

    def describe_lack(self) -> str:
        """What it lacks, in short: whole groups by their name and a star."""
        groups = {
            one.group: [each for each in Privilege if each.group == one.group] for one in Privilege
        }
        lacking: list[str] = []
        for group, members in groups.items():
            gone = [one for one in members if one in self.without]
            lacking += [f"{group}.*"] if len(gone) == len(members) else [str(one) for one in gone]
        more = f" and {len(lacking) - _FEW} more" if len(lacking) > _FEW else ""
        return ", ".join(lacking[:_FEW]) + more


class RoleList(Answer, frozen=True, kw_only=True):
    """Roles, those that vCenter came with first."""

    items: tuple[PermissionRole, ...]


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A user, and its role (empty: none). ``trusted_admin``: a member of TrustedAdmins too."""

    user: str
    role: str
    trusted_admin: bool = False

    table = ColumnTable(
        "user",
        (field("user"), ("ROLE", lambda user: user.role or "none"), field("trusted_admin")),
    )


class UserList(Answer, frozen=True, kw_only=True):
    """Users by name."""

    items: tuple[User, ...]


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
