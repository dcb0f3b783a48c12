"""Who may send what to a host. Pure: one table.

| | local administrator | its vCenter | cluster peer | Trust Authority | stranger |
|---|---|---|---|---|---|
| session | allowed | allowed | refused | refused | refused |
| command | allowed | in session | refused | refused | refused |
| question | allowed | allowed | refused | refused | refused |
| console | allowed | refused | refused | refused | refused |
| migration | allowed | refused | as announced | refused | as announced |
| agent | allowed | refused | allowed | refused | refused |
| replica | allowed | refused | allowed | refused | refused |

*As announced*: the migration itself decides; vCenter has named the one host that may send for it.

*In session*: allowed as the next command of the session in force. Hosts of the same cluster are
those that vCenter named with HA or vSAN. Services of a Trust Authority have no message to send
to a host yet; the first that is made gets a kind, and with it a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, Final

from protocol.messages.base import Request
from protocol.messages.host.crypto import (
    ActivateTpmCredential,
    ExportBaseImage,
    ExportTpmEndorsement,
    GetCryptoKeyStatus,
    QueryTpmAttestationReport,
    QueryTrustedConfiguration,
    QueryTrustedServices,
)
from protocol.messages.host.session import (
    CheckForUpdates,
    Command,
    HaElect,
    HaHeartbeat,
    HaRestartVm,
    OpenSession,
    QueryHost,
)
from protocol.messages.host.vms import CheckRelocate, QueryVmConfig, SendMemory, SwitchOver
from protocol.messages.host.vsan import (
    FetchVsanReplica,
    QueryVsan,
    QueryVsanComponent,
    QueryVsanEncryptionHealth,
    ReserveVsanWrite,
    SyncVsanComponent,
)
from protocol.terms import NodeName


class AccessClass(StrEnum):
    """What a message to a host is, for its permission."""

    SESSION = "session"  # vCenter takes command
    COMMAND = "command"  # a numbered command of a session
    QUESTION = "question"  # changes nothing
    CONSOLE = "console"  # at the host's own console
    MIGRATION = "migration"  # from the host that a VM comes from
    AGENT = "agent"  # between the HA agents of a cluster
    REPLICA = "replica"  # of components of an object of vSAN


class Relation(StrEnum):
    """What the sender of a message is to this host."""

    LOCAL_ADMINISTRATOR = "the local administrator"
    VCENTER = "its vCenter"
    CLUSTER_PEER = "a host of its cluster"
    TRUST_AUTHORITY = "a service of its Trust Authority"
    STRANGER = "a stranger"


class RelationPermission(StrEnum):
    """What the table says."""

    ALLOWED = "allowed"
    IN_SESSION = "in session"
    AS_ANNOUNCED = "as announced"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Relations:
    """The nodes that a host knows by relation. ``vcenter`` is empty when the host has none."""

    vcenter: NodeName
    cluster_peers: frozenset[NodeName] = frozenset()
    trust_authority: frozenset[NodeName] = frozenset()

    def of(self, node: NodeName, *, local: bool) -> Relation:
        """The relation of the sender ``node``; ``local``: the message came from the host's own
        console."""
        if local:
            return Relation.LOCAL_ADMINISTRATOR
        if self.vcenter and node == self.vcenter:
            return Relation.VCENTER
        if node in self.cluster_peers:
            return Relation.CLUSTER_PEER
        if node in self.trust_authority:
            return Relation.TRUST_AUTHORITY
        return Relation.STRANGER


_A, _S, _R = RelationPermission.ALLOWED, RelationPermission.IN_SESSION, RelationPermission.REFUSED
_M = RelationPermission.AS_ANNOUNCED

_COLUMN: Final = {relation: column for column, relation in enumerate(Relation)}
_ROWS: Final[dict[AccessClass, tuple[RelationPermission, ...]]] = {
    AccessClass.SESSION: (_A, _A, _R, _R, _R),
    AccessClass.COMMAND: (_A, _S, _R, _R, _R),
    AccessClass.QUESTION: (_A, _A, _R, _R, _R),
    AccessClass.CONSOLE: (_A, _R, _R, _R, _R),
    AccessClass.MIGRATION: (_A, _R, _M, _R, _M),
    AccessClass.AGENT: (_A, _R, _A, _R, _R),
    AccessClass.REPLICA: (_A, _R, _A, _R, _R),
}
"""The table, its columns in the order of ``Relation``."""


def kind_of(message: Request[Any]) -> AccessClass:
    """The kind of a message. A message without a kind is for the console only."""
    return _kind_of(type(message))


@cache
def _kind_of(message: type[Request[Any]]) -> AccessClass:
    if issubclass(message, OpenSession):
        return AccessClass.SESSION
    if issubclass(message, Command):
        return AccessClass.COMMAND
    if issubclass(message, (SendMemory, SwitchOver)):
        return AccessClass.MIGRATION
    if issubclass(message, _OF_AGENTS):
        return AccessClass.AGENT
    if issubclass(message, _OF_REPLICAS):
        return AccessClass.REPLICA
    return AccessClass.QUESTION if issubclass(message, _QUESTIONS) else AccessClass.CONSOLE


_QUESTIONS: Final = (
    CheckForUpdates,
    QueryHost,
    GetCryptoKeyStatus,
    QueryTpmAttestationReport,
    ActivateTpmCredential,
    QueryTrustedConfiguration,
    QueryTrustedServices,
    ExportTpmEndorsement,
    ExportBaseImage,
    QueryVsan,
    QueryVsanEncryptionHealth,
    QueryVmConfig,
    CheckRelocate,
)

_OF_REPLICAS: Final = (FetchVsanReplica, QueryVsanComponent, ReserveVsanWrite, SyncVsanComponent)
_OF_AGENTS: Final = (HaElect, HaHeartbeat, HaRestartVm)


def permission_for(kind: AccessClass, relation: Relation) -> RelationPermission:
    """Whether a sender of this relation may send a message of this kind."""
    return _ROWS[kind][_COLUMN[relation]]
