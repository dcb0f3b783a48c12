"""vCenter's inventory of hosts and clusters, the notification that a host has changed, what vSphere
HA reports, the event log, recent tasks (vim25 TaskInfo), and roles (vim25 AuthorizationManager).
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

import msgspec

from protocol.authorization import Privilege
from protocol.events import EventTypeId
from protocol.messages.base import Event, Repeat, Reply, Request
from protocol.messages.host.session import Done
from protocol.terms import (
    AttestationStatus,
    ClusterName,
    CryptoKeyId,
    CryptoMode,
    DrsBehavior,
    HostConnectionState,
    HostCryptoState,
    NodeName,
    ProviderId,
    VmName,
)


class HostChanged(Request[Done], frozen=True, kw_only=True):
    """The doorbell of a host: something changed there, and vCenter should look for itself.

    A host rings when it has booted or lost its session (step B8), when it cannot find keys of
    a VM by itself (step 5 of resolving), and when VMs changed without vCenter's command. What
    has changed is in the view that vCenter then asks for. ``boot`` is the life of the host that
    rings: of the next one vCenter connects anew without a look; it is no evidence of anything.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    boot: int


class AddHost(Request["HostAdded"], frozen=True, kw_only=True):
    """Add a host to a cluster: connect, push providers and keys. Same name, same cluster: once."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    host: NodeName
    cluster: ClusterName


class HostAdded(Reply, frozen=True, kw_only=True):
    """The host is in the inventory; its state is what it has told so far."""

    host: HostInfo


class RemoveHost(Request[Done], frozen=True, kw_only=True):
    """Take a host and its VMs out of the inventory; nothing is deleted elsewhere (KEY-03).

    ``InvalidState`` while VMs run on it. No change when it is not there.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    host: NodeName


class DisconnectHost(Request[Done], frozen=True, kw_only=True):
    """DisconnectHost_Task: vCenter leaves the host alone until ``ReconnectHost``, over restarts.

    The host and its VMs stay in the inventory, and go on. No change when it is disconnected.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    host: NodeName


class ReconnectHost(Request["HostReconnected"], frozen=True, kw_only=True):
    """ReconnectHost_Task: connect now, also to a host that was not responding; then step B8.

    ``HostUnreachable``: it does not answer, and one that was disconnected stays so.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    host: NodeName


class HostReconnected(Reply, frozen=True, kw_only=True):
    """The host is connected; its state is what it has told so far."""

    host: HostInfo


class EnterMaintenanceMode(Request[Done], frozen=True, kw_only=True):
    """EnterMaintenanceMode_Task: no VM is placed, made, registered or started on the host.

    ``InvalidState`` names the VMs that run there. ``evacuate``: they move to other hosts of the
    cluster first (vMotion), as they do by themselves where DRS is fully automated (HA-03); the
    first that cannot ends the task.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    host: NodeName
    evacuate: bool = False


class ExitMaintenanceMode(Request[Done], frozen=True, kw_only=True):
    """ExitMaintenanceMode_Task: VMs may come again; nothing is started because of it."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    host: NodeName


class PrepareCrypto(Request[Done], frozen=True, kw_only=True):
    """HostSystem.PrepareCrypto: incapable -> prepared; ``InvalidState`` from any other state."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    host: NodeName


class ConfigureCryptoKey(Request[Done], frozen=True, kw_only=True):
    """HostSystem.ConfigureCryptoKey: (re-)enable host encryption mode, push keys, unlock.

    ``key``: the host key from now on, of this host alone; None: the one it has, else that of its
    cluster, else a new one of the default provider. ``InvalidArgument`` when the key cannot be had.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    host: NodeName
    key: CryptoKeyId | None = None


class DisableCrypto(Request[Done], frozen=True, kw_only=True):
    """CryptoManagerHostDisable, asked of vCenter: pendingIncapable until the host reboots (HEM-03).

    It stays off until a task or an administrator asks for the mode. ``ResourceInUse`` while
    encrypted VMs are on the host, ``InvalidState`` when it is pendingIncapable already or its
    cluster keeps all hosts safe.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    host: NodeName


class AcknowledgeAlarm(Request[Done], frozen=True, kw_only=True):
    """The recovery key that this host has now is kept in a safe place: its alarm ends (REC-03).

    No change when there is none. ``NotFound`` for a host that is not in the inventory.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    host: NodeName


class ClearTpmRecord(Request[Done], frozen=True, kw_only=True):
    """Forget the TPM that is recorded of a host, and look at the one it has now (ATT-09).

    An administrator's word that a replaced board, a cleared TPM or another build is as it should
    be (SC-25). ``NotFound``: there is no such host.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    host: NodeName


class TpmAttestation(msgspec.Struct, frozen=True, kw_only=True):
    """vim25 HostTpmAttestationInfo: ``time`` in Unix s, ``message`` why it is not accepted."""

    time: float
    status: AttestationStatus
    message: str = ""


class HostInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A host in vCenter's inventory; ``seen_at`` (Unix s) is when it last answered.

    ``attestation`` is None of a host without a TPM, and before the first look at it.
    """

    host: NodeName
    cluster: ClusterName
    connection: HostConnectionState
    crypto_state: HostCryptoState | None
    crypto_key_id: CryptoKeyId | None = None
    version: str = ""
    tpm_present: bool = False
    key_persistence: bool = False
    boot: int = 0
    cached_keys: int = 0
    seen_at: float = 0.0
    attestation: TpmAttestation | None = None
    in_maintenance_mode: bool = False
    alarms: tuple[str, ...] = ()


class ListHosts(Request["HostList"], frozen=True, kw_only=True):
    """Hosts by name, those after ``after``, as many as fit into the answer."""

    after: NodeName = NodeName("")


class HostList(Reply, frozen=True, kw_only=True):
    """``more``: ask again with the last name as ``after`` (``look.all_hosts``)."""

    hosts: tuple[HostInfo, ...]
    more: bool = False


class CryptoModePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """ClusterComputeResourceCryptoModePolicy: the host key of a cluster's hosts, or the provider
    that makes it. At most one of them; without either it is the default provider's."""

    key: CryptoKeyId | None = None
    provider: ProviderId | None = None


class SetCryptoMode(Request[Done], frozen=True, kw_only=True):
    """ClusterComputeResource.SetCryptoMode: which hosts vCenter keeps safe by itself (HEM-05).

    ``onDemand``: those of clusters with encrypted VMs, as tasks need them; ``forceEnable``: all.
    ``policy``, from 8.0 U3 on: with which host key; one that was set before ends when there is
    none. ``InvalidArgument`` for a key that cannot be had, or a provider that is not there.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    cluster: ClusterName
    crypto_mode: CryptoMode
    policy: CryptoModePolicy | None = None


class ReconfigureComputeResource(Request[Done], frozen=True, kw_only=True):
    """ReconfigureComputeResource_Task: what is not named stays as it is.

    ``das_enabled`` is ClusterConfigSpecEx.dasConfig.enabled: vSphere HA (HA-01). ``drs`` is
    drsConfig.defaultVmBehavior, None: drsConfig.enabled is false (HA-03). Durable before the
    reply; of HA the hosts hear then, those that are away when they are back.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    cluster: ClusterName
    das_enabled: bool | msgspec.UnsetType = msgspec.UNSET
    drs: DrsBehavior | msgspec.UnsetType | None = msgspec.UNSET


class ClusterInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster; ``host_key`` is that of its hosts that have none of their own (HEM-06).

    ``default_provider``: its own, None when it has vCenter's. ``das_enabled``: vSphere HA is on.
    ``policy`` only if there is one (HEM-05), ``drs`` only if DRS is enabled (HA-03).
    ``vsan_problems``: what was wrong with its vSAN encryption at vCenter's last look (VSAN-14).
    """

    cluster: ClusterName
    crypto_mode: CryptoMode
    host_key: CryptoKeyId | None = None
    default_provider: ProviderId | None = None
    das_enabled: bool = False
    hosts: int = 0
    vms: int = 0
    policy: CryptoModePolicy | msgspec.UnsetType = msgspec.UNSET
    vsan_problems: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET  # only if there are some
    drs: DrsBehavior | msgspec.UnsetType = msgspec.UNSET


class ListClusters(Request["ClusterList"], frozen=True, kw_only=True):
    """Clusters by name, those after ``after``, as many as fit into the answer."""

    after: ClusterName = ClusterName("")


class ClusterList(Reply, frozen=True, kw_only=True):
    """``more``: ask again with the last name as ``after`` (``look.all_clusters``)."""

    clusters: tuple[ClusterInfo, ...]
    more: bool = False


class VcEvent(Event, frozen=True, kw_only=True):
    """One entry of vCenter's event log, as stored and as broadcast."""

    sequence: int
    at: float
    event: EventTypeId
    text: str
    host: NodeName | None = None
    vm: VmName | None = None
    provider: ProviderId | None = None
    keys: tuple[CryptoKeyId, ...] = ()


class ListEvents(Request["EventList"], frozen=True, kw_only=True):
    """Events with a sequence above ``after``, oldest first, at most ``limit``, as many as fit."""

    after: int = 0
    limit: int = 1000


class EventList(Reply, frozen=True, kw_only=True):
    """``more``: there are later events; ask again with the last sequence as ``after``."""

    events: tuple[VcEvent, ...]
    more: bool = False


class HaIncidentKind(StrEnum):
    """What happened."""

    HOST_FAILED = "hostFailed"
    HOST_ISOLATED = "hostIsolated"
    VM_RESTARTED = "vmRestarted"
    VM_NOT_RESTARTED = "vmNotRestarted"


class HaIncident(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Of a host, or of ``vm``, which was on the host ``of``; ``last``: it is not tried again."""

    kind: HaIncidentKind
    host: NodeName
    vm: VmName | None = None
    of: NodeName | None = None
    reason: str = ""
    last: bool = False


class HaReport(Request[Done], frozen=True, kw_only=True):
    """The primary of a cluster tells its vCenter; sent once, also when the answer was lost."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    incidents: tuple[HaIncident, ...]


class TaskInfoState(StrEnum):
    """TaskInfo.state. No task here is ``queued``: it is made when its turn has come."""

    RUNNING = "running"
    SUCCESS = "success"
    ERROR = "error"


class TaskInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One task. ``number`` counts from 1 in each life of vCenter; ``entity`` is what it is about.

    ``start_time`` and ``complete_time`` (None while it runs) in Unix seconds of vCenter's clock.
    ``user``: who gave it (TaskReasonUser). ``error``: the fault that it ended with,
    ``reason`` its text.
    """

    number: int
    name: str
    entity: str
    user: str
    state: TaskInfoState
    start_time: float
    complete_time: float | None = None
    error: str = ""
    reason: str = ""

    @property
    def key(self) -> str:
        """TaskInfo.key, as clients name it."""
        return f"task-{self.number}"


class ListTasks(Request["TaskList"], frozen=True, kw_only=True):
    """TaskManager.recentTask: what runs, and the latest that have ended, those numbered above
    ``after``, oldest first. They are kept in memory: a vCenter that restarts has none."""

    after: int = 0


class TaskList(Reply, frozen=True, kw_only=True):
    """``more``: there are later ones; ask again with the last number as ``after``."""

    tasks: tuple[TaskInfo, ...]
    more: bool = False


class AddAuthorizationRole(Request[Done], frozen=True, kw_only=True):
    """A role with these privileges, and those that every role has.

    ``AlreadyExists`` for a role that has others; ``InvalidArgument`` beyond 100 roles.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    role: str
    privileges: tuple[Privilege, ...]


class UpdateAuthorizationRole(Request[Done], frozen=True, kw_only=True):
    """The role has these privileges from now on. ``NotFound``; ``InvalidArgument`` for a role that
    vCenter comes with; ``NoPermission`` for a change by what the caller does not have."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    role: str
    privileges: tuple[Privilege, ...]


class RemoveAuthorizationRole(Request[Done], frozen=True, kw_only=True):
    """``ResourceInUse`` while a user has it; ``InvalidArgument`` for one that vCenter comes
    with."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    role: str


class SetEntityPermissions(Request[Done], frozen=True, kw_only=True):
    """``principal`` has that role from now on. ``NotFound`` for no role, ``InvalidArgument`` for
    the administrator, who keeps the role Admin; ``NoPermission`` for a role with privileges that
    the caller does not have."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    principal: str
    role: str


class RemoveEntityPermission(Request[Done], frozen=True, kw_only=True):
    """``principal`` has no role any more, so it may do nothing."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    principal: str


class QueryAuthorization(Request["AuthorizationState"], frozen=True, kw_only=True):
    """AuthorizationManager.roleList, and RetrieveAllPermissions."""


class AuthorizationRole(msgspec.Struct, frozen=True, kw_only=True):
    """``system``: vCenter came with it, so it does not change."""

    role: str
    system: bool
    privileges: tuple[Privilege, ...]


class Permission(msgspec.Struct, frozen=True, kw_only=True):
    """``trusted_admin``: it is in TrustedAdmins too (TA-04); ``role`` is empty when it has none."""

    principal: str
    role: str
    trusted_admin: bool = False


class AuthorizationState(Reply, frozen=True, kw_only=True):
    """Roles, those that vCenter came with first; permissions by name of the principal."""

    roles: tuple[AuthorizationRole, ...]
    permissions: tuple[Permission, ...]
