"""What vCenter and hosts hold: hosts, and VMs with their disks; and what a VM's move came to."""

from __future__ import annotations

import msgspec

from lab.schema.answers.base import Answer, KeyRef, MachineState
from lab.schema.tables import ColumnTable, field, short_key
from protocol.events import EventTypeId
from protocol.terms import (
    AttestationStatus,
    ClusterName,
    CryptoMode,
    HostConnectionState,
    HostCryptoState,
    ManagementType,
    MigrateEncryption,
    NodeName,
    PowerState,
    ProtectionMode,
    ProviderId,
    VmConnectionState,
    VmCryptoState,
    VmName,
)


class VmDisk(msgspec.Struct, frozen=True, kw_only=True):
    """A disk of a VM: ``blocks`` of 4,096 bytes, and the key that it is encrypted under."""

    disk: int
    label: str
    blocks: int
    key: KeyRef | None = None

    table = ColumnTable(
        "label",
        (
            field("label", "DISK"),
            field("blocks"),
            ("KEY", lambda disk: short_key(disk.key) or "not encrypted"),
        ),
    )


class VmDisks(Answer, frozen=True, kw_only=True):
    """The disks of ``vm`` in their order; ``added``: the number of the one that is new."""

    vm: VmName
    items: tuple[VmDisk, ...]
    added: int | None = None


# Hosts -------------------------------------------------------------------------------------


class AttestationState(msgspec.Struct, frozen=True, kw_only=True):
    """What vCenter makes of a host's TPM; ``time`` in Unix s, ``message``: why not accepted."""

    time: float
    status: AttestationStatus
    message: str = ""

    def __str__(self) -> str:
        return f"{self.status}: {self.message}" if self.message else str(self.status)


class Host(Answer, frozen=True, kw_only=True):
    """A host as vCenter sees it, and its machine as the lab sees it.

    ``seen_at`` is when it last answered vCenter (Unix seconds); ``stale``: vCenter does not
    hear it now, or cannot hear it as its machine does not run, and shows what it saw then.
    ``attestation`` is None of a host without a TPM, and until vCenter has looked at it.
    """

    host: NodeName
    cluster: ClusterName
    connection: HostConnectionState
    crypto_state: HostCryptoState | None
    crypto_key_id: KeyRef | None = None
    version: str = ""
    tpm_present: bool = False
    key_persistence: bool = False
    boot: int = 0
    cached_keys: int = 0
    seen_at: float = 0.0
    attestation: AttestationState | None = None
    in_maintenance_mode: bool = False
    alarms: tuple[str, ...] = ()
    stale: bool = False
    machine: MachineState
    screen: str = ""
    vcenter: NodeName | None = None

    table = ColumnTable(
        "host",
        (
            field("host"),
            ("STATE", lambda host: host.describe_state()),
            field("machine"),
            field("crypto_state", "CRYPTO"),
            ("PERSISTENCE", lambda host: "on" if host.key_persistence else "off"),
            field("tpm_present", "TPM"),
            field("cached_keys", "KEYS"),
            field("boot"),
        ),
        wide=(
            field("cluster"),
            field("version"),
            field("crypto_key_id", "HOST KEY"),
            ("ATTESTATION", lambda host: host.attestation.status if host.attestation else None),
            field("screen"),
        ),
    )

    def describe_state(self) -> str:
        """As vCenter has it; what else one must know of it in brackets."""
        notes = {"maintenance": self.in_maintenance_mode, "stale": self.stale}
        shown = ", ".join(note for note, holds in notes.items() if holds)
        return f"{self.connection} ({shown})" if shown else str(self.connection)


class HostList(Answer, frozen=True, kw_only=True):
    """Hosts by name."""

    items: tuple[Host, ...]


class HostRemoval(msgspec.Struct, frozen=True, kw_only=True):
    """A host that left the inventory, with the VMs that left it too."""

    host: NodeName
    vms: tuple[VmName, ...] = ()

    table = ColumnTable("host", (field("host"), field("vms", "VMS")))


class HostRemovalList(Answer, frozen=True, kw_only=True):
    """Every host that was meant."""

    items: tuple[HostRemoval, ...]


class KnownProvider(msgspec.Struct, frozen=True, kw_only=True):
    """What a host knows of a key provider."""

    provider_id: ProviderId
    management_type: ManagementType


class VmOnHost(msgspec.Struct, frozen=True, kw_only=True):
    """A VM as its host sees it; ``wanted`` is the last power command that it accepted.

    ``disks`` of a VM that has several.
    """

    vm: VmName
    power: PowerState
    crypto: VmCryptoState | None = None
    connection: VmConnectionState = VmConnectionState.CONNECTED
    keys: tuple[KeyRef, ...] = ()
    missing: tuple[KeyRef, ...] = ()
    wanted: PowerState = PowerState.OFF
    disks: tuple[VmDisk, ...] = ()
    vtpm: bool = False


class HostView(Answer, frozen=True, kw_only=True):
    """A host's own view of itself.

    ``crypto_key_id`` is the host key that is configured, present or not; ``session`` is empty
    when vCenter has none in force.
    """

    host: NodeName
    boot: int
    version: str
    crypto_state: HostCryptoState
    crypto_key_id: KeyRef | None = None
    tpm_present: bool = False
    protection_mode: ProtectionMode = ProtectionMode.NONE
    key_persistence: bool = False
    cached_keys: int = 0
    stored_keys: int = 0
    providers: tuple[KnownProvider, ...] = ()
    vms: tuple[VmOnHost, ...] = ()
    session: str = ""
    recovery_id: str = ""


class Cluster(Answer, frozen=True, kw_only=True):
    """A cluster: ``crypto_mode`` is which of its hosts are kept safe [HEM-05].

    ``host_key`` is that of its hosts without one of their own, ``policy`` the key or the provider
    that was named for it, empty without one [HEM-05]; ``default_provider`` empty:
    vCenter's [STD-02]. ``ha``: its hosts restart the VMs of one that fails [HA-01]. ``drs``: what
    DRS does by itself, empty: it is disabled [HA-03].
    """

    cluster: ClusterName
    crypto_mode: CryptoMode
    host_key: KeyRef | None = None
    policy: str = ""
    default_provider: ProviderId | None = None
    ha: bool = False
    drs: str = ""
    hosts: int = 0
    vms: int = 0
    vcenter: NodeName | None = None

    table = ColumnTable(
        "cluster",
        (
            field("cluster"),
            field("crypto_mode"),
            ("DEFAULT PROVIDER", lambda cluster: cluster.default_provider or "of vCenter"),
            ("HA", lambda cluster: "on" if cluster.ha else "off"),
            ("DRS", lambda cluster: cluster.drs or "off"),
            field("hosts"),
            field("vms"),
        ),
        wide=(field("host_key", "HOST KEY"), ("POLICY", lambda cluster: cluster.policy or None)),
    )


class ClusterList(Answer, frozen=True, kw_only=True):
    """Clusters by name."""

    items: tuple[Cluster, ...]


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm that stands now; ``of`` is the host, VM, key provider or cluster it is about."""

    of: str
    alarm: str
    why: str = ""
    vcenter: NodeName | None = None

    table = ColumnTable("of", (field("of"), field("alarm"), field("why")))


class AlarmList(Answer, frozen=True, kw_only=True):
    """Alarms of hosts, of VMs, of key providers, of clusters; each stands as long as its cause."""

    items: tuple[Alarm, ...]


# VMs ---------------------------------------------------------------------------------------


class Vm(Answer, frozen=True, kw_only=True):
    """A VM as vCenter sees it, or as a host does that was asked itself.

    ``crypto`` is None when it is not encrypted, and of an orphaned one, whose host does not have
    it; ``missing`` keys are why it is locked, and ``lock_event`` is the event that said so;
    ``stale``: its host does not answer vCenter now.
    ``vtpm``: it has a virtual TPM. ``snapshots``: their names, oldest first; ``with_memory``: of
    those that have the guest's memory, from which it runs when it reverts to one [VTPM-08].
    """

    vm: VmName
    cluster: ClusterName
    host: NodeName
    power: PowerState
    connection: VmConnectionState
    crypto: VmCryptoState | None = None
    key: KeyRef | None = None
    missing: tuple[KeyRef, ...] = ()
    lock_event: EventTypeId | None = None
    alarms: tuple[str, ...] = ()
    stale: bool = False
    vcenter: NodeName | None = None
    vtpm: bool = False
    snapshots: tuple[str, ...] = ()
    template: bool = False
    migrate_encryption: MigrateEncryption | None = None
    with_memory: tuple[str, ...] = ()

    table = ColumnTable(
        "vm",
        (
            field("vm"),
            field("host"),
            ("POWER", lambda vm: vm.describe_power()),
            ("CRYPTO", lambda vm: vm.crypto or ("not encrypted" if vm.key is None else "unknown")),
            ("KEY", lambda vm: short_key(vm.key)),
            ("MISSING", lambda vm: [short_key(key) for key in vm.missing]),
        ),
        wide=(
            ("VTPM", lambda vm: "yes" if vm.vtpm else "no"),
            ("TEMPLATE", lambda vm: "yes" if vm.template else "no"),
            ("SNAPSHOTS", lambda vm: vm.list_snapshots()),
            field("connection"),
            field("cluster"),
            field("key", "KEY ID"),
            field("lock_event"),
            field("alarms"),
        ),
    )

    def describe_power(self) -> str:
        """Its power, and why that may not be so: its host is not seen, or does not list it."""
        orphaned = self.connection is VmConnectionState.ORPHANED
        return f"{self.power}{' (orphaned)' if orphaned else ' (stale)' if self.stale else ''}"

    def list_snapshots(self) -> list[str] | None:
        """Those with the guest's memory are marked; None when it has none."""
        memory = self.with_memory
        return [f"{name} (memory)" if name in memory else name for name in self.snapshots] or None


class VmList(Answer, frozen=True, kw_only=True):
    """VMs by name."""

    items: tuple[Vm, ...]


class VmPower(msgspec.Struct, frozen=True, kw_only=True):
    """One VM after a power command; refused: ``power`` is None, and the error says why, with the
    vim25 ``fault`` and the ``keys`` concerned."""

    vm: VmName
    host: NodeName
    power: PowerState | None = None
    error_id: str | None = None
    error: str | None = None
    fault: str = ""
    keys: tuple[str, ...] = ()

    table = ColumnTable(
        "vm", (field("vm"), field("host"), field("power")), wide=(field("error", "REFUSED"),)
    )


class VmPowerList(Answer, frozen=True, kw_only=True):
    """Every VM that was asked, in order of the inventory, and the state that was wanted."""

    wanted: PowerState
    items: tuple[VmPower, ...]

    @property
    def refused(self) -> tuple[VmPower, ...]:
        """Those that did not do what was wanted."""
        return tuple(vm for vm in self.items if vm.error is not None)

    def errors(self, of_lab: str) -> tuple[str, ...]:
        refused = self.refused
        told = [f"keystead: error {vm.error_id}: {vm.vm}: {vm.error}" for vm in refused]
        if refused:
            describe = f"keystead describe vm {refused[0].vm}{of_lab}"
            told.append(f"  fix: {describe} says why, and what cures it")
        return tuple(told)

    @property
    def exit_code(self) -> int:
        return 1 if self.refused else 0


class VmRemoval(msgspec.Struct, frozen=True, kw_only=True):
    """One VM that was to leave the inventory; refused: it is there still, and the error says why.

    ``host`` is the one that had it; None when it was not in the inventory.
    """

    vm: VmName
    host: NodeName | None = None
    error_id: str | None = None
    error: str | None = None
    fault: str = ""
    keys: tuple[str, ...] = ()

    table = ColumnTable(
        "vm",
        (field("vm"), field("host"), ("LEFT", lambda vm: vm.error is None)),
        wide=(field("error", "REFUSED"),),
    )


class VmRemovalList(Answer, frozen=True, kw_only=True):
    """Every VM that was asked for, in order of the inventory."""

    items: tuple[VmRemoval, ...]

    @property
    def refused(self) -> tuple[VmRemoval, ...]:
        """Those that did not leave."""
        return tuple(vm for vm in self.items if vm.error is not None)

    def errors(self, of_lab: str) -> tuple[str, ...]:
        return tuple(f"keystead: error {vm.error_id}: {vm.vm}: {vm.error}" for vm in self.refused)

    @property
    def exit_code(self) -> int:
        return 1 if self.refused else 0


class GuestAnswer(Answer, frozen=True, kw_only=True):
    """What a guest answered: SHA-256 of the nonce and each block that was asked for, in order.

    ``rewritten`` is the block that it wrote anew, now of ``generation``. ``run``: 8 bytes that stay
    the same as long as the guest runs, and go along with it to another host.
    """

    digest: bytes
    rewritten: int = -1
    generation: int = 0
    run: bytes = b""


_STREAM = {True: "encrypted", False: "clear", None: None}


class Migration(Answer, frozen=True, kw_only=True):
    """The VM on its new host. ``gap_s``: lab seconds in which its guest stood still; ``size``:
    bytes of memory that went from host to host; ``encrypted``: whether the stream was. None
    when it was off, or there already."""

    vm: Vm
    gap_s: float | None = None
    size: int | None = None
    encrypted: bool | None = None

    table = ColumnTable(
        "name",
        (
            ("VM", lambda row: row.vm.vm),
            ("HOST", lambda row: row.vm.host),
            ("POWER", lambda row: row.vm.power),
            ("SWITCH-OVER", lambda row: None if row.gap_s is None else f"{row.gap_s:.3f} s"),
            ("STREAM", lambda row: _STREAM[row.encrypted]),
            ("MEMORY", lambda row: None if row.size is None else f"{row.size} bytes"),
        ),
    )

    @property
    def name(self) -> str:
        """Of the VM."""
        return self.vm.vm
