"""VMs of vCenter's inventory: the tasks on them and their list; clones, templates and snapshots;
VMs that move within their cluster (vMotion, MOB-01 to MOB-08) and to another vCenter (MOB-07);
virtual TPMs and the CA that certifies them.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from protocol.events import EventTypeId
from protocol.messages.base import Repeat, Reply, Request, Sealed
from protocol.messages.host.session import Done, VirtualDisk
from protocol.messages.host.vms import StreamKey, TpmProvisionPolicy
from protocol.terms import (
    ClusterName,
    CryptoKeyId,
    MigrateEncryption,
    NodeName,
    PowerState,
    ProviderId,
    VmConnectionState,
    VmCryptoState,
    VmName,
)


class CreateVm(Request["VmCreated"], frozen=True, kw_only=True):
    """Create a VM on a host of the cluster (the emptiest when none is named).

    ``encrypted``: under a new KEK of ``provider`` (the default when None), in this one task: the
    key comes first, and a task that fails leaves no VM.
    ``firmware`` and ``hardware`` as in ``HostCreateVm``.
    """

    repeat: ClassVar[Repeat] = Repeat.CREATE
    operation_id: str
    vm: VmName
    cluster: ClusterName
    host: NodeName | None = None
    blocks: int = 64
    encrypted: bool = False
    provider: ProviderId | None = None
    firmware: str | msgspec.UnsetType = msgspec.UNSET
    hardware: int | msgspec.UnsetType = msgspec.UNSET


class VmCreated(Reply, frozen=True, kw_only=True):
    """The VM, registered on its host and powered off."""

    vm: VmInfo


class RegisterVm(Request["VmRegistered"], frozen=True, kw_only=True):
    """RegisterVM_Task: add a VM to the inventory whose files are on the cluster's datastore.

    On ``host``, or on the emptiest host of the cluster. vCenter fetches its keys at once; if they
    are not available, the VM is registered and locked (REG-01). No change if it is in the inventory
    already. ``NotFound``: it has no files there. ``AlreadyExists``: it is in the inventory on
    another host, or was relocated to another vCenter that still has it (decision 104).
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName
    cluster: ClusterName
    host: NodeName | None = None


class VmRegistered(Reply, frozen=True, kw_only=True):
    """The VM, registered on its host; locked when its keys cannot be had."""

    vm: VmInfo


class UnregisterVm(Request[Done], frozen=True, kw_only=True):
    """UnregisterVM: the VM leaves the inventory and every host that lists it; its files stay.

    Its key leaves the hosts and stays at the key server (STD-17, KEY-03). ``InvalidPowerState``
    while it runs. No change when it is not in the inventory.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName


class DestroyVm(Request[Done], frozen=True, kw_only=True):
    """Destroy_Task: as ``UnregisterVm``, and its files are deleted.

    ``InvalidState`` of an orphaned VM, of which its host has no files to delete.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName


class EncryptVm(Request["VmEncrypted"], frozen=True, kw_only=True):
    """Encrypt a powered-off VM under a new KEK of ``provider`` (the default when None).

    Of a user who holds Cryptographer.RegisterHost it may turn the encryption mode of the VM's host
    on, and then that of all hosts of its cluster (HEM-01, HEM-02). Without it ``NoPermission``,
    unless the VM's host is safe; others stay as they are.
    """

    repeat: ClassVar[Repeat] = Repeat.CREATE
    operation_id: str
    vm: VmName
    provider: ProviderId | None = None


class RecryptVm(Request["VmRecrypted"], frozen=True, kw_only=True):
    """CryptoSpecShallowRecrypt of a VM: a new KEK of ``provider`` (the default when None), its
    DEKs wrapped anew, also while it runs (REK-01). ``deep``: CryptoSpecDeepRecrypt, with new DEKs
    and its data rewritten while it is powered off (REK-02). ``disk``: of "Hard disk ``disk``"
    alone, which is under a key of its own then (KEY-04); ``NotFound`` when there is none.

    The old key stays at its key server (REK-03); what fails leaves it in force (REK-04).
    ``EncryptionKeyRequired`` of a locked VM (REK-05).
    """

    repeat: ClassVar[Repeat] = Repeat.CREATE
    operation_id: str
    vm: VmName
    provider: ProviderId | None = None
    deep: bool = False
    disk: int | None = None


class VmRecrypted(Reply, frozen=True, kw_only=True):
    """The VM after the task, the key that it or its disk is under, and those that it was under."""

    vm: VmInfo
    key: CryptoKeyId
    old: tuple[CryptoKeyId, ...]


class DecryptVm(Request["VmDecrypted"], frozen=True, kw_only=True):
    """CryptoSpecDecrypt of a VM that is powered off: its data are rewritten in clear (CLN-02)."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName


class VmDecrypted(Reply, frozen=True, kw_only=True):
    """The VM after the task."""

    vm: VmInfo


class VmEncrypted(Reply, frozen=True, kw_only=True):
    """The VM after the task, and the key of its provider that it is encrypted under."""

    vm: VmInfo
    key: CryptoKeyId


class AddDisk(Request["VmDisks"], frozen=True, kw_only=True):
    """A new disk of ``blocks`` blocks of 4,096 bytes for a VM that is powered off.

    On an encrypted VM it is encrypted, under the key of the VM's home, or under a new one of
    ``provider``; ``own_key``: of the default provider, when none is named. A VM of several keys is
    legal, and vCenter warns of it (KEY-04). ``InvalidState``: a key for a disk of a VM in clear.
    """

    repeat: ClassVar[Repeat] = Repeat.CREATE
    operation_id: str
    vm: VmName
    blocks: int = 64
    provider: ProviderId | None = None
    own_key: bool = False


class RemoveDisk(Request["VmDisks"], frozen=True, kw_only=True):
    """Take "Hard disk ``disk``" and its data away from a VM that is powered off.

    The key of the VM's home is needed, the disk's is not: so a VM starts again of which a disk's
    key is lost (LOCK-03). No change when it has none of that number.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName
    disk: int


class VmDisks(Reply, frozen=True, kw_only=True):
    """The VM after the task and its disks; ``disk``: the one that was added, 0 for none."""

    vm: VmInfo
    disks: tuple[VirtualDisk, ...] = ()
    disk: int = 0


class PowerOnVm(Request["VmPowered"], frozen=True, kw_only=True):
    """PowerOnVM_Task; vCenter fetches and pushes a missing key first when it can.

    In a cluster whose DRS is automated the VM may move to another host first (HA-03): errors may
    be those of a move.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName


class PowerOffVm(Request["VmPowered"], frozen=True, kw_only=True):
    """PowerOffVM_Task: at once, without the guest; also when it is off."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName


class VmPowered(Reply, frozen=True, kw_only=True):
    """The VM after the task."""

    vm: VmInfo


class CryptoUnlock(Request["VmPowered"], frozen=True, kw_only=True):
    """CryptoUnlock_Task (LOCK-05); ``InvalidVmState`` when it is locked afterwards still."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName


class VmInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A VM in vCenter's inventory. ``lock_event`` is the event id that said why it is locked.

    ``crypto`` is None when it is not encrypted, or is orphaned and not marked as locked: its host
    does not have it, and nobody knows whether it could open it.
    ``not_granted``: keys that vCenter knows from its host alone, and brings to no host before
    somebody unlocks or registers the VM (C28).
    """

    vm: VmName
    cluster: ClusterName
    host: NodeName
    power: PowerState
    connection: VmConnectionState
    crypto: VmCryptoState | None = None
    key: CryptoKeyId | None = None
    missing: tuple[CryptoKeyId, ...] = ()
    lock_event: EventTypeId | None = None
    alarms: tuple[str, ...] = ()
    vtpm: bool | msgspec.UnsetType = msgspec.UNSET  # only of a VM that has one
    snapshots: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET  # only of one that has some
    template: bool | msgspec.UnsetType = msgspec.UNSET  # only of one that is
    migrate_encryption: MigrateEncryption | msgspec.UnsetType = msgspec.UNSET  # if not as usual
    with_memory: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET  # only if some snapshots are
    not_granted: tuple[CryptoKeyId, ...] | msgspec.UnsetType = msgspec.UNSET  # only if there are


class ListVms(Request["VmList"], frozen=True, kw_only=True):
    """VMs by name, those after ``after``, as many as fit into the answer."""

    after: VmName = VmName("")


class VmList(Reply, frozen=True, kw_only=True):
    """``more``: ask again with the last name as ``after`` (``look.all_vms``)."""

    vms: tuple[VmInfo, ...]
    more: bool = False


class CloneVm(Request["VmCloned"], frozen=True, kw_only=True):
    """CloneVM_Task: ``vm`` is a whole copy of ``source``, a template, or a VM that is off or runs.

    Of one that runs it has the disks as of one instant, and is off. It is under the keys of its
    source; with ``recrypt`` under a new one of ``provider`` (the default when None), with new data
    keys (CLN-01). ``host``: of the source's cluster; when None the emptiest, or that of a source
    that runs, which makes its clone in any case. ``template``: it is a template itself. ``tpm``:
    what it has for a virtual TPM (VTPM-07); None: as vCenter's knob says. A task that fails leaves
    no VM, but for a clone that was made and does not get to ``host``, which the error says.

    ``AlreadyExists``; ``InvalidState`` to recrypt a VM in clear; ``InvalidArgument``: the host is
    in another cluster; ``EncryptionKeyRequired`` when keys of the source cannot be had;
    ``InvalidVmState`` of a source that is locked and invalid (LOCK-02).
    """

    repeat: ClassVar[Repeat] = Repeat.CREATE
    operation_id: str
    vm: VmName
    source: VmName
    host: NodeName | None = None
    template: bool = False
    recrypt: bool = False
    provider: ProviderId | None = None
    tpm: TpmProvisionPolicy | None = None


class VmCloned(Reply, frozen=True, kw_only=True):
    """The clone, powered off."""

    vm: VmInfo


class MarkAsTemplate(Request["VmMarked"], frozen=True, kw_only=True):
    """The VM, powered off, is a template from now on: it is cloned, and not powered on."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName


class MarkAsVirtualMachine(Request["VmMarked"], frozen=True, kw_only=True):
    """The template is a VM again, on the host that it was registered on."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName


class VmMarked(Reply, frozen=True, kw_only=True):
    """The VM or template."""

    vm: VmInfo


class CreateSnapshot(Request["VmSnapshots"], frozen=True, kw_only=True):
    """CreateSnapshot_Task: ``vm`` as it is now, also while it runs. With ``memory`` that of its
    guest is kept too; a VM that is off has none. No change when there is one of that name.

    It is under the keys of its VM, whose home's key is needed. While there is one, the VM is not
    encrypted, decrypted or recrypted deeply (REK-02, CLN-02).
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName
    snapshot: str
    memory: bool = False


class RemoveSnapshot(Request["VmSnapshots"], frozen=True, kw_only=True):
    """RemoveSnapshot_Task: the VM stays as it is. No change when there is none of that name."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName
    snapshot: str


class RevertToSnapshot(Request["VmSnapshots"], frozen=True, kw_only=True):
    """RevertToSnapshot_Task: the VM is as it was then. With memory in the snapshot it runs
    afterwards, from that memory, unless ``suppress_power_on``; without, it is powered off.

    ``NotFound``; ``EncryptionKeyRequired`` without the key of its home (VTPM-06), or, of one that
    is to run, without any of its keys; ``DatastoreFault`` when the memory is damaged. A VM that
    ran goes on then. ``SaveFailed``: it may be as it was then, and off.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName
    snapshot: str
    suppress_power_on: bool = False


class VmSnapshots(Reply, frozen=True, kw_only=True):
    """The VM, with its snapshots in the order in which they were taken."""

    vm: VmInfo


class MigrateVm(Request["VmRelocated"], frozen=True, kw_only=True):
    """MigrateVM_Task: the VM goes on on ``host``, of the same cluster. No change when it is there.

    Of a user without Cryptographer.RegisterHost an encrypted VM moves to safe hosts only (MOB-05).
    ``EncryptionKeyRequired``: the target has not the VM's keys and they cannot be had;
    ``InvalidState``: it is in maintenance mode or has encryption disabled (MOB-06). Refused, the VM
    runs on where it is, and is not locked by it.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName
    host: NodeName


class VmRelocated(Reply, frozen=True, kw_only=True):
    """The VM after the task. Of one that ran: how long its guest stood still, in lab seconds, and
    how many bytes of memory went from host to host, and whether the stream was ``encrypted``; None
    when it was off, or there already."""

    vm: VmInfo
    gap_s: float | None = None
    size: int | None = None
    encrypted: bool | None = None


class ReconfigVm(Request["VmRelocated"], frozen=True, kw_only=True):
    """ReconfigVM_Task with ``migrateEncryption`` alone: whether the VM's memory travels encrypted.

    ``InvalidState`` for anything but ``required`` of an encrypted VM (MOB-02).
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName
    migrate_encryption: MigrateEncryption


class ServiceLocator(msgspec.Struct, frozen=True, kw_only=True):
    """Which vCenter, and as which of its users; empty: the one who gives the task, by name."""

    vcenter: NodeName
    user: str = ""


class RelocateVm(Request[VmRelocated], frozen=True, kw_only=True):
    """RelocateVM_Task with a ``service``: the VM goes on on ``host``, under that vCenter.

    Running or off as it is. No change when it has moved there by such a task.
    ``EncryptionKeyRequired``: the other vCenter has no key provider of that name, or not its keys,
    or the host does not open the VM with them (MOB-07, KEY-01). Refused, the VM is as it was.
    ``TimedOut``: nobody could say yet who has it; it is settled when both vCenters and the source
    answer.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName
    service: ServiceLocator
    host: NodeName


class PrepareRelocation(Request["RelocationPrepared"], frozen=True, kw_only=True):
    """From the vCenter that has the VM to the one that is to have it: judged, keys brought to
    ``host``, and the move recorded, durably.

    ``user`` asks for it here. ``datastore`` has the VM's files. ``running``: its memory comes from
    the host ``source``, sealed with ``material`` (None, as is ``stream``: in clear).
    ``AlreadyExists`` when this vCenter has a VM of that name.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName
    migration: str
    user: str
    host: NodeName
    source: NodeName
    datastore: str
    running: bool
    keys: tuple[CryptoKeyId, ...] = ()
    migrate_encryption: MigrateEncryption = MigrateEncryption.OPPORTUNISTIC
    stream: StreamKey | None = None
    material: Sealed | None = None

    @property
    def encrypted(self) -> bool:
        """Whether it asks for what an encrypted VM needs."""
        return bool(self.keys)


class RelocationPrepared(Reply, frozen=True, kw_only=True):
    """The VM may come now; no host of this vCenter starts it before it does."""


class EndRelocation(Request["RelocationEnded"], frozen=True, kw_only=True):
    """From the vCenter that had the VM: has it come?

    ``departed`` True: no host of the other side has it any more, so it is taken in here, running or
    off. False: one has it still, so it comes only if it runs here, and else does not come any
    more. None: nobody knows, so nothing is decided but that one that runs here has come.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName
    migration: str
    departed: bool | None = None


class RelocationEnded(Reply, frozen=True, kw_only=True):
    """``arrived`` None: undecided. ``vm``: as it is here now; None when it has not arrived, or has
    left again since."""

    arrived: bool | None
    vm: VmInfo | None = None


class AddVtpm(Request["VmReconfigured"], frozen=True, kw_only=True):
    """ReconfigVM_Task that adds a VirtualTPM to a powered-off VM (VTPM-02).

    Its home is encrypted under a new KEK of ``provider`` (the default when None), unless it is
    already; its disks stay as they are.
    ``InvalidPowerState`` while it runs, ``InvalidArgument`` of a VM without EFI or with too old a
    hardware version, ``AlreadyExists`` when it has one.
    """

    repeat: ClassVar[Repeat] = Repeat.CREATE
    operation_id: str
    vm: VmName
    provider: ProviderId | None = None


class RemoveVtpm(Request["VmReconfigured"], frozen=True, kw_only=True):
    """ReconfigVM_Task that removes the VirtualTPM: what is in it is destroyed (VTPM-03).

    The home is decrypted, and its key released, unless a disk is encrypted. No change without one.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName


class VmReconfigured(Reply, frozen=True, kw_only=True):
    """The VM after the task."""

    vm: VmInfo


class QueryVmca(Request["VmcaState"], frozen=True, kw_only=True):
    """The certificate (DER) of VMCA, which signs those of vTPMs; it is made with the first one."""


class VmcaState(Reply, frozen=True, kw_only=True):
    """Empty while there is none, or when it cannot be read."""

    certificate: bytes
