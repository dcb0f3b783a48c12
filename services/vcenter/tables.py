"""What the inventory holds: one frozen struct per table, kept as a JSON body under its name.

Key *ids* only: no struct here has a place for a key's value but ``NativeConfig``, where a KDK is
wrapped. ``position``
is a counter: it is the order of every listing.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from protocol.authorization import Privilege
from protocol.events import EventTypeId
from protocol.messages.vcenter import CryptoModePolicy, KmipServer, ServicesInformation
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
from services.vcenter.keys.wrapped import ClientCertificate, NativeConfig
from services.vcenter.vsan.rows import VsanRow


class TableRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of one of the tables below."""


class ClusterRow(TableRow, frozen=True, kw_only=True):
    """A cluster; ``host_key`` is shared by its hosts when the knob says so (HEM-06).

    ``generation`` counts the host keys made for it: it is part of the operation id under which
    the key server knows the next one, so that a repeat after a crash finds the same key.
    ``host_key_check``: the check value of one that hosts derive.
    ``crypto_mode``: which of its hosts are kept safe (HEM-05), and ``policy`` with which host key.
    ``default_provider``: of tasks in
    this cluster that name none; None: vCenter's own default (STD-02).
    ``ha``: its hosts restart each other's VMs; ``ha_epoch`` counts how often that was turned on.
    ``drs``: what DRS does by itself, None: it is disabled (HA-03).
    ``vsan``: None as long as nobody has asked for its encryption.
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
    """The TPM of a host as vCenter knows it, from when the host was added or the record cleared.

    ``ek`` and ``ak``: SHA-256 of the endorsement key, name of the attestation key that it was
    proved to hold; ``pcrs``: what was measured then, by index. All in hexadecimal. ``reset_count``
    and ``clock`` (ms of powered time) as last seen. ``set_back``: they were once seen to have gone
    back, and that is not forgotten by itself.
    """

    ek: str
    ak: str
    pcrs: dict[int, str]
    reset_count: int
    clock: int
    set_back: bool = False


class AttestationRow(msgspec.Struct, frozen=True, kw_only=True):
    """What vCenter made of a host's TPM ``at`` (Unix s): ``message`` says why it is not accepted.

    ``event``: the one that told of it.
    """

    at: float
    status: AttestationStatus
    message: str = ""
    event: EventTypeId | None = None


class HostRow(TableRow, frozen=True, kw_only=True):
    """A host; ``recovery_id`` is the recovery key that the last alarm was about, and
    ``recovery_acknowledged`` the one of which an administrator said that it is kept elsewhere.

    ``host_key``: a key of its own, which an administrator chose for it or the knob of HEM-06 asks
    for; else its cluster's is used. ``kept_off``: vCenter does not turn its encryption mode on by
    itself: an administrator turned it off, or a task's user may not register hosts (HEM-02).

    ``trust_told``: which attestation by a Trust Authority the last event told of (ATT-05).
    ``tpm`` and ``attestation`` are None as long as its TPM was not seen (ATT-09). ``disconnected``:
    by an administrator, on whose word alone vCenter connects it again. ``problems_told``: of which
    boot of the host, up to which number, events have told its problems.
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
    """A VM; ``keys`` are what it needs, the home's first. ``lock_event``: marked as locked.

    ``destroying``: its destruction was begun; it leaves the inventory when its host has done it.
    ``recrypting``: its keys are being changed, and what its host says of them is newer than this.
    ``snapshots``: their names, oldest first; ``with_memory``: of those that have the guest's
    memory. ``template``: it is not powered on. ``unreadable``: its host finds no configuration.
    ``moving``: two hosts between which it moves, as long as both may list it, and hosts that have
    left the inventory and may list it still.
    ``migrate_encryption``: whether its memory travels encrypted when it is in clear itself; that of
    an encrypted VM always does (``stream_policy``).
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

    ``client``: what its KMIP servers are shown; None before it was made. ``trusted``: certificates
    (DER) to one of which theirs must lead (STD-03). ``ending``: SHA-256 of those of whose end an
    event has told (STD-07). ``passwords``: of user names at servers, by the servers' names, each
    wrapped (``providers.logins``).
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


class CryptoKeyRow(TableRow, frozen=True, kw_only=True):
    """What vCenter remembers of a key beside who uses it.

    ``listed``: it was made or added on request, so it is known though nobody uses it.
    ``forgotten``: removed by force while in use: hosts get it no more, until it is added again.
    ``trouble``: why its key server does not give it, as an event has told.
    """

    name: str
    key: CryptoKeyId
    listed: bool = False
    forgotten: bool = False
    trouble: KeyUnavailableReason | None = None


class DeletedRow(TableRow, frozen=True, kw_only=True):
    """A provider that was deleted ``at`` (lab monotonic seconds) and not made again (DEL-02).

    ``evicted_from``: hosts that its keys have left; from each of them once. ``management_type``:
    what it was, which decides on the events that tell of its keys.
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
    """A key that a task gave to ``cluster`` for ``vm`` (``services.vcenter.keys.grants``).

    ``ended``: hosts of the cluster get it no more for this VM. The row stays, since it says whose
    key it is.
    """

    name: str
    key: CryptoKeyId
    vm: VmName
    cluster: ClusterName
    ended: bool = False

    @classmethod
    def of(cls, vm: VmName, cluster: ClusterName, key: CryptoKeyId) -> GrantRow:
        """A grant that begins."""
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
    """A client's operation under its id, with what a repeat must not choose again.

    ``provider`` without ``key``: the key is one that a host makes. ``old``: the keys that a VM was
    under when it was to be recrypted. ``disk``: the one that an operation which has ended added.
    ``ended``: a recrypt that has, or a clone that is on its host.
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
    """How far a move between two vCenters has come, as one of them knows it."""

    LEAVING = "leaving"  # whether it has left is not known
    STAYED = "stayed"  # it has not left, and the other vCenter has not heard of that
    LEFT = "left"
    EXPECTED = "expected"
    ARRIVED = "arrived"


class RelocationRow(TableRow, frozen=True, kw_only=True):
    """The last move of a VM, by its name, to or from the vCenter ``peer`` (MOB-07).

    ``host``: this vCenter's end of it. ``running``: the VM's memory goes along.
    ``migrate_encryption`` comes with a VM. ``listed_by``: hosts here that may list a VM still that
    has left. ``came``: the last migration by which it came from each other vCenter, of those before
    this one: a peer that has not heard may ask for long. ``before``: the row that is put back when
    this move comes to nothing. ``keys``: of a VM that is expected, as the peer names them.
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
        """Whether that host here lists the VM, off, for this move's sake alone, or since before."""
        left = self.state is Relocation.LEFT and host in self.listed_by
        return left or self.state is Relocation.EXPECTED

    def has_come(self, peer: NodeName, migration: str) -> bool:
        """Whether the VM came by that migration, now or before this one."""
        now = self.state is Relocation.ARRIVED and (self.peer, self.migration) == (peer, migration)
        return now or (peer, migration) in self.came


class AuthorityRow(TableRow, frozen=True, kw_only=True):
    """A Trust Authority at its own vCenter: what all its services are to have (HLT-01).

    There is one; its ``name`` is ``authority``. ``revision`` counts the changes. ``ending``: as of
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
    """What a vCenter keeps of Trust Authority beside that; its ``name`` is ``trust``.

    ``admins``: the members of TrustedAdmins (TA-04). ``clusters``: trusted ones. ``revision``: of
    what its hosts are to have; ``principal``: SHA-256 of the certificate that was imported by then.
    """

    name: str
    admins: tuple[str, ...] = ()
    clusters: tuple[ClusterName, ...] = ()
    services: ServicesInformation | None = None
    revision: int = 0
    principal: str = ""
    since: float = 0.0


class RoleRow(TableRow, frozen=True, kw_only=True):
    """A role that somebody made; those that vCenter comes with have no row."""

    name: str
    privileges: tuple[Privilege, ...]


class PermissionRow(TableRow, frozen=True, kw_only=True):
    """A user by name, and the role that it has in all of this vCenter."""

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
