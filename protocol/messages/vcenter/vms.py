"""VMs of vCenter's inventory: the tasks on them, and their list."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from protocol.events import EventTypeId
from protocol.messages.base import Repeat, Reply, Request
from protocol.messages.host import Done, VirtualDisk
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
    """``more``: ask again with the last name as ``after`` (``listing.all_vms``)."""

    vms: tuple[VmInfo, ...]
    more: bool = False
