"""The tables of the inventory: one frozen struct per table, stored as a JSON body under its name.

Key *ids* only: no struct here can hold a key's value except ``NativeConfig``, whose KDK is
wrapped. ``position`` is a counter: it is the order of every listing.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from protocol.authorization import Privilege
from protocol.events import EventTypeId
from protocol.messages.vcenter.inventory import CryptoModePolicy
from protocol.messages.vcenter.providers import KeySpec, KmipServer, WrappingKeyInfo
from protocol.messages.vcenter.trust import ServicesInformation
from protocol.terms import (
    AttestationStatus,
    ClusterName,
    CryptoKeyId,
    CryptoMode,
    DrsBehavior,
    KeyUnavailableReason,
    ManagementType,
    MigrateEncryption,
    NodeName,
    PowerState,
    ProviderId,
    VmName,
)
from protocol.trust import (
    AcceptedAttestationService,
    BaseImage,
    TpmCaCertificate,
    TpmSettings,
    TrustedEndorsementKey,
    TrustedKeyProvider,
    TrustedPrincipal,
)
from protocol.vsan import VsanChange, VsanPlacement, VsanTransitionState


class NativeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A native provider: its KDK ``wrapped`` (``providers.native``), with the id ``key_id``.

    ``revision`` changes each time that a KDK is set. ``backed_up``: it was downloaded, or came from
    a backup; ``updated``: its id has changed since. ``told_at``: the last event that there is no
    current backup (Unix seconds).
    """

    key_id: str
    revision: str
    wrapped: bytes
    tpm_required: bool = False
    backed_up: bool = False
    updated: bool = False
    told_at: float = 0.0


class ClientCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """The certificate (DER) that vCenter presents to the KMIP servers of a provider, the issuing
    ones, and its private key ``wrapped`` (``providers.client_certificates``); empty when that is
    lost. ``request``: a signing request (PKCS#10 DER); empty: there is none."""

    chain: tuple[bytes, ...]
    wrapped: bytes
    request: bytes = b""


class WrappingConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What new keys of a standard provider are (KEY-07): as asked for by ``spec``.

    ``known``: its wrapping keys, the last one in force unless it ended. ``made``: how many vCenter
    has created under ``revision``; both are part of the operation id of the next one at the key
    server, so that a repeat after a crash finds the same key.
    """

    spec: KeySpec
    revision: str
    known: tuple[WrappingKeyInfo, ...] = ()
    made: int = 0

    @property
    def current(self) -> WrappingKeyInfo | None:
        """The wrapping key in force; None before vCenter has created one."""
        last = self.known[-1] if self.known else None
        return None if last is None or last.until is not None else last


class VsanGroupKey(msgspec.Struct, frozen=True, kw_only=True):
    """The KEK of one disk group of a host (C3)."""

    host: NodeName
    group: str
    kek: CryptoKeyId
    kek_check: str = ""


class VsanKeys(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration, in force or desired. The checks are of derived keys.

    ``per_group``: each disk group has a KEK of its own, in ``group_keks``; there is no ``kek``.
    """

    encryption_enabled: bool = False
    provider: ProviderId | None = None
    management_type: ManagementType = ManagementType.UNKNOWN
    kek: CryptoKeyId | None = None
    kek_check: str = ""
    per_group: bool = False
    group_keks: tuple[VsanGroupKey, ...] = ()
    host_key: CryptoKeyId | None = None
    host_key_check: str = ""
    dek_generation: int = 0
    erase_disks_before_use: bool = False

    def list_keys(self) -> tuple[CryptoKeyId, ...]:
        """Every key of this configuration."""
        keks = (self.kek, *(one.kek for one in self.group_keks))
        return tuple(key for key in (*keks, self.host_key) if key is not None)

    def covers(self, host: NodeName, group: str) -> bool:
        """Whether this group needs no key that does not exist yet."""
        if not self.encryption_enabled or not self.per_group:
            return True
        return any((one.host, one.group) == (host, group) for one in self.group_keks)


class VsanTransition(msgspec.Struct, frozen=True, kw_only=True):
    """A change to ``target`` in progress."""

    change: VsanChange
    target: VsanKeys
    state: VsanTransitionState = VsanTransitionState.PREPARING
    allow_reduced_redundancy: bool = False


class VsanRow(msgspec.Struct, frozen=True, kw_only=True):
    """``operation``: the id of the latest change, by which a repeat is recognised.
    ``allow_reduced_redundancy``: as for the last deep rekey, for hosts that it has left out (C25).
    ``unmade``: by object, the hosts that may never have had its component."""

    keys: VsanKeys = VsanKeys()
    transition: VsanTransition | None = None
    operation: str = ""
    allow_reduced_redundancy: bool = False
    objects: dict[str, tuple[VsanPlacement, ...]] = {}
    unmade: dict[str, tuple[NodeName, ...]] = {}

    def list_keys(self) -> tuple[CryptoKeyId, ...]:
        """The keys in force and those of a change in progress, each once."""
        target = () if self.transition is None else self.transition.target.list_keys()
        return tuple(dict.fromkeys((*self.keys.list_keys(), *target)))

    def users_of(self, key: CryptoKeyId) -> tuple[NodeName, ...] | None:
        """The hosts that use this key alone for their disk groups; None: every host (C3)."""
        keys = (self.keys, *(() if self.transition is None else (self.transition.target,)))
        own = [one.host for each in keys for one in each.group_keks if one.kek == key]
        return tuple(dict.fromkeys(own)) or None


class TableRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of one of the tables below."""


class ClusterRow(TableRow, frozen=True, kw_only=True):
    """A cluster; its hosts share ``host_key`` if the knob says so (HEM-06).

    ``generation`` counts the host keys made for it. It is part of the operation id of the next one
    at the key server, so that a repeat after a crash finds the same key. ``host_key_check``: the
    check value of a derived host key. ``crypto_mode``: which of its hosts are kept safe (HEM-05),
    and ``policy`` with which host key. ``default_provider``: for tasks in this cluster that name
    none; None: vCenter's own default (STD-02). ``ha``: its hosts restart each other's VMs;
    ``ha_epoch`` counts how often that was turned on. ``drs``: DRS's automation level; None:
    disabled (HA-03). ``vsan``: None until its encryption is requested.
    """

    name: ClusterName
    host_key: CryptoKeyId | None = None
    host_key_check: str = ""
    generation: int = 0
    crypto_mode: CryptoMode = CryptoMode.ON_DEMAND
    policy: CryptoModePolicy = CryptoModePolicy()
    default_provider: ProviderId | None = None
    ha: bool = False
    ha_epoch: int = 0
    drs: DrsBehavior | None = None
    vsan: VsanRow | None = None


class TpmRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The record of a host's TPM, from when the host was added or the record cleared.

    ``ek`` and ``ak``: SHA-256 of the endorsement key, and name of the attestation key that it was
    proved to hold; ``pcrs``: the measurements then, by index. All in hexadecimal. ``reset_count``
    and ``clock`` (ms of powered time) as last seen. ``set_back``: they once went back; this stays
    until the record is cleared.
    """

    ek: str
    ak: str
    pcrs: dict[int, str]
    reset_count: int
    clock: int
    set_back: bool = False


class AttestationRow(msgspec.Struct, frozen=True, kw_only=True):
    """The judgement of a host's TPM ``at`` (Unix s); ``message``: why it is not accepted.

    ``event``: the event that reported it.
    """

    at: float
    status: AttestationStatus
    message: str = ""
    event: EventTypeId | None = None


class HostRow(TableRow, frozen=True, kw_only=True):
    """A host. ``recovery_id`` is the recovery key of the last alarm, ``recovery_acknowledged`` the
    one that an administrator has acknowledged as kept elsewhere.

    ``host_key``: a key of its own, chosen by an administrator or required by the knob of HEM-06;
    otherwise its cluster's is used. ``kept_off``: vCenter does not enable its encryption mode by
    itself: an administrator disabled it, or a task's user may not register hosts (HEM-02).

    ``trust_told``: the attestation by a Trust Authority that the last event reported (ATT-05).
    ``tpm`` and ``attestation`` are None until its TPM was seen (ATT-09). ``disconnected``: by an
    administrator, who alone can connect it again. ``problems_told``: the boot of the host, and the
    number up to which events have reported its problems.
    """

    name: NodeName
    cluster: ClusterName
    disconnected: bool = False
    host_key: CryptoKeyId | None = None
    host_key_check: str = ""
    generation: int = 0
    recovery_id: str = ""
    recovery_acknowledged: str = ""
    kept_off: bool = False
    tpm: TpmRecord | None = None
    attestation: AttestationRow | None = None
    trust_told: str = ""
    problems_told: tuple[int, int] = (0, 0)


class VmRow(TableRow, frozen=True, kw_only=True):
    """A VM. ``keys`` are the keys that it needs, the home's first. ``lock_event``: marked as
    locked.

    ``destroying``: its destruction was begun; it leaves the inventory when its host has done it.
    ``recrypting``: its keys are being changed, and its host's report of them is newer than the row.
    ``snapshots``: their names, oldest first; ``with_memory``: those with the guest's memory.
    ``template``: it is not powered on. ``unreadable``: its host finds no configuration. ``moving``:
    two hosts between which it moves, while both may list it, and hosts that have left the inventory
    and may still list it. ``migrate_encryption``: whether the memory of an unencrypted VM travels
    encrypted; that of an encrypted VM always does (``stream_policy``).
    """

    name: VmName
    cluster: ClusterName
    host: NodeName
    power: PowerState = PowerState.OFF
    keys: tuple[CryptoKeyId, ...] = ()
    lock_event: EventTypeId | None = None
    missing: tuple[CryptoKeyId, ...] = ()
    destroying: bool = False
    recrypting: bool = False
    vtpm: bool = False
    snapshots: tuple[str, ...] = ()
    template: bool = False
    moving: tuple[NodeName, ...] = ()
    migrate_encryption: MigrateEncryption = MigrateEncryption.OPPORTUNISTIC
    with_memory: tuple[str, ...] = ()
    unreadable: bool = False


class ProviderRow(TableRow, frozen=True, kw_only=True):
    """A key provider; its name is its identity (KEY-01).

    ``client``: the certificate for its KMIP servers; None before it was created. ``trusted``:
    certificates (DER) to one of which theirs must lead (STD-03). ``ending``: SHA-256 of those whose
    expiry an event has reported (STD-07). ``passwords``: of user names at servers, by server name,
    each wrapped (``providers.logins``). ``keys``: what its new keys are; raw ones when unset.
    """

    name: ProviderId
    management_type: ManagementType
    servers: tuple[KmipServer, ...] = ()
    default: bool = False
    native: NativeConfig | None = None
    client: ClientCertificate | None = None
    trusted: tuple[bytes, ...] = ()
    ending: tuple[str, ...] = ()
    passwords: dict[str, bytes] = {}
    keys: WrappingConfig | msgspec.UnsetType = msgspec.UNSET


class CryptoKeyRow(TableRow, frozen=True, kw_only=True):
    """The record of a key besides its users.

    ``listed``: it was created or added on request, so it is known even if unused. ``forgotten``:
    removed by force while in use: hosts do not get it until it is added again. ``trouble``: why its
    key server does not give it, as an event has reported.
    """

    name: str
    key: CryptoKeyId
    listed: bool = False
    forgotten: bool = False
    trouble: KeyUnavailableReason | None = None


class DeletedRow(TableRow, frozen=True, kw_only=True):
    """A provider that was deleted ``at`` (lab monotonic seconds) and not created again (DEL-02).

    ``evicted_from``: hosts that its keys have left; from each of them once. ``management_type``:
    its former type, which decides on the events about its keys.
    """

    name: ProviderId
    at: float
    management_type: ManagementType = ManagementType.VCENTER
    evicted_from: tuple[NodeName, ...] = ()


class ReleasedRow(TableRow, frozen=True, kw_only=True):
    """A key that no VM uses any more (STD-17), and the hosts that have not dropped it yet."""

    name: str
    key: CryptoKeyId
    hosts: tuple[NodeName, ...]


class GrantRow(TableRow, frozen=True, kw_only=True):
    """A key that a task gave to ``cluster`` for ``vm`` (``services.vcenter.key_use``).

    ``ended``: hosts of the cluster do not get it any more for this VM. The row stays, because it
    records whose key it is.
    """

    name: str
    key: CryptoKeyId
    vm: VmName
    cluster: ClusterName
    ended: bool = False

    @classmethod
    def of(cls, vm: VmName, cluster: ClusterName, key: CryptoKeyId) -> GrantRow:
        """A new grant."""
        return cls(name=cls.name_of(vm, key), key=key, vm=vm, cluster=cluster)

    @staticmethod
    def name_of(vm: VmName, key: CryptoKeyId) -> str:
        """The name of the row: there is one for each VM and key."""
        return f"{key} {vm}"


class OperationKind(StrEnum):
    CREATE_VM = "CreateVm"
    ENCRYPT_VM = "EncryptVm"
    RECRYPT_VM = "RecryptVm"
    GENERATE_KEY = "GenerateKey"
    ADD_DISK = "AddDisk"
    ADD_VTPM = "AddVtpm"
    CLONE_VM = "CloneVm"


class OperationRow(TableRow, frozen=True, kw_only=True):
    """A client's operation under its id, with the choices that a repeat must not make again.

    ``provider`` without ``key``: a host makes the key. ``old``: the keys of a VM before its
    recrypt. ``disk``: the disk that a completed operation added. ``ended``: the recrypt has ended,
    or the clone is on its host.
    """

    name: str
    kind: OperationKind
    subject: str = ""
    host: NodeName | None = None
    key: CryptoKeyId | None = None
    provider: ProviderId | None = None
    old: tuple[CryptoKeyId, ...] = ()
    disk: int = 0
    ended: bool = False


class Relocation(StrEnum):
    """The state of a move between two vCenters, as one of them knows it."""

    LEAVING = "leaving"  # it is unknown whether it has left
    STAYED = "stayed"  # it has not left, and the other vCenter does not know that
    LEFT = "left"
    EXPECTED = "expected"
    ARRIVED = "arrived"


class RelocationRow(TableRow, frozen=True, kw_only=True):
    """The last move of a VM, by its name, to or from the vCenter ``peer`` (MOB-07).

    ``host``: this vCenter's end of it. ``running``: the VM's memory moves too.
    ``migrate_encryption`` moves with a VM. ``listed_by``: hosts here that may still list a VM that
    has left. ``came``: of earlier moves, the last migration by which it arrived from each other
    vCenter: a peer that missed it may ask for long. ``before``: the row that is restored when this
    move fails. ``keys``: of an expected VM, as the peer names them.
    """

    name: VmName
    migration: str
    peer: NodeName
    host: NodeName
    state: Relocation
    running: bool
    migrate_encryption: MigrateEncryption = MigrateEncryption.OPPORTUNISTIC
    listed_by: tuple[NodeName, ...] = ()
    came: tuple[tuple[NodeName, str], ...] = ()
    before: RelocationRow | None = None
    keys: tuple[CryptoKeyId, ...] = ()

    @property
    def happened(self) -> bool:
        """Whether the VM has moved by it."""
        return self.state in (Relocation.LEFT, Relocation.ARRIVED)

    def is_past(self, host: NodeName) -> bool:
        """Whether that host here lists the VM, powered off, only because of this move or an earlier
        one."""
        left = self.state is Relocation.LEFT and host in self.listed_by
        return left or self.state is Relocation.EXPECTED

    def has_come(self, peer: NodeName, migration: str) -> bool:
        """Whether the VM arrived by that migration, in this move or an earlier one."""
        now = self.state is Relocation.ARRIVED and (self.peer, self.migration) == (peer, migration)
        return now or (peer, migration) in self.came


class AuthorityRow(TableRow, frozen=True, kw_only=True):
    """A Trust Authority at its own vCenter: the desired configuration of all its services (HLT-01).

    There is one; its ``name`` is ``authority``. ``revision`` counts the changes. ``ending``: as in
    ``ProviderRow``, of certificates between Key Provider Services and KMIP servers.
    """

    name: str
    cluster: ClusterName
    group: str
    revision: int
    attestation_services: tuple[NodeName, ...]
    key_provider_services: tuple[NodeName, ...]
    principals: tuple[TrustedPrincipal, ...] = ()
    ca_certificates: tuple[TpmCaCertificate, ...] = ()
    endorsement_keys: tuple[TrustedEndorsementKey, ...] = ()
    base_images: tuple[BaseImage, ...] = ()
    settings: TpmSettings = TpmSettings()
    providers: tuple[TrustedKeyProvider, ...] = ()
    issuers: tuple[AcceptedAttestationService, ...] = ()
    ending: tuple[str, ...] = ()


class TrustRow(TableRow, frozen=True, kw_only=True):
    """The other rows of Trust Authority at a vCenter; its ``name`` is ``trust``.

    ``admins``: the members of TrustedAdmins (TA-04). ``clusters``: trusted ones. ``revision``: of
    the desired configuration of its hosts; ``principal``: SHA-256 of the certificate that was
    imported by then.
    """

    name: str
    admins: tuple[str, ...] = ()
    clusters: tuple[ClusterName, ...] = ()
    services: ServicesInformation | None = None
    revision: int = 0
    principal: str = ""
    since: float = 0.0


class RoleRow(TableRow, frozen=True, kw_only=True):
    """A custom role; built-in ones have no row."""

    name: str
    privileges: tuple[Privilege, ...]


class PermissionRow(TableRow, frozen=True, kw_only=True):
    """A user by name, with its role in this whole vCenter."""

    name: str
    role: str


class DatabaseTable(StrEnum):
    CRYPTO_KEY = "crypto_key"
    CLUSTER = "cluster"
    HOST = "host"
    VM = "vm"
    PROVIDER = "provider"
    DELETED = "deleted_provider"
    RELEASED = "released_key"
    OPERATION = "operation"
    AUTHORITY = "trust_authority"
    TRUST = "trust"
    ROLE = "role"
    PERMISSION = "permission"
    RELOCATION = "relocation"
    GRANT = "key_grant"


ROW_OF: dict[DatabaseTable, type[TableRow]] = {
    DatabaseTable.CRYPTO_KEY: CryptoKeyRow,
    DatabaseTable.CLUSTER: ClusterRow,
    DatabaseTable.HOST: HostRow,
    DatabaseTable.VM: VmRow,
    DatabaseTable.PROVIDER: ProviderRow,
    DatabaseTable.DELETED: DeletedRow,
    DatabaseTable.RELEASED: ReleasedRow,
    DatabaseTable.OPERATION: OperationRow,
    DatabaseTable.AUTHORITY: AuthorityRow,
    DatabaseTable.TRUST: TrustRow,
    DatabaseTable.ROLE: RoleRow,
    DatabaseTable.PERMISSION: PermissionRow,
    DatabaseTable.RELOCATION: RelocationRow,
    DatabaseTable.GRANT: GrantRow,
}

SCHEMA: tuple[str, ...] = (
    *(
        f"CREATE TABLE IF NOT EXISTS {table} ("
        "position INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, body TEXT NOT NULL)"
        for table in DatabaseTable
    ),
    "CREATE TABLE IF NOT EXISTS seal (one INTEGER PRIMARY KEY, total BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS event ("
    "sequence INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, body TEXT NOT NULL)",
)
