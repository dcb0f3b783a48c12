"""Virtual machines of a host and their guests: clones, templates and snapshots, vMotion (MOB-01,
MOB-03), and virtual TPMs with what a guest does with its own.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Final

import msgspec

from protocol.guest_tpm import TpmAnswer
from protocol.messages.base import Repeat, Reply, Request, Sealed
from protocol.messages.host.session import Command, Done, VirtualDisk, VmSummary
from protocol.terms import CryptoKeyId, NodeName, ProviderId, VmName

DISKS_LIMIT: Final = 15
"""Disks that a VM may have."""


class HostCreateVm(Command["VmState"], frozen=True, kw_only=True):
    """Make and register a VM of ``blocks`` blocks of 4,096 bytes.

    ``firmware``: ``efi`` unless it says ``bios``; ``hardware``: its virtual hardware version, 21
    unless it says another one.

    With ``key`` it is encrypted under that key from its first byte on; with ``provider`` alone
    under one that the host makes. Keys and faults are as in ``ReconfigureVm``. No change when this
    host has registered one of that name already.
    """

    seeks_keys: ClassVar[bool] = True
    vm: VmName
    blocks: int = 64
    key: CryptoKeyId | None = None
    provider: ProviderId | None = None
    firmware: str | msgspec.UnsetType = msgspec.UNSET
    hardware: int | msgspec.UnsetType = msgspec.UNSET


class HostRegisterVm(Command["VmState"], frozen=True, kw_only=True):
    """Register the VM whose files lie on the datastore; saved before the reply."""

    vm: VmName


class HostUnregisterVm(Command[Done], frozen=True, kw_only=True):
    """Take it out of this host's inventory; its files stay. Refused while it runs."""

    vm: VmName


class HostDestroyVm(Command[Done], frozen=True, kw_only=True):
    """Unregister and delete the files. Refused while it runs."""

    vm: VmName


class ReconfigureVm(Command["VmState"], frozen=True, kw_only=True):
    """CryptoSpecEncrypt: new DEKs under this KEK, data rewritten, VM powered off.

    ``key`` None: the host makes the key itself, with ``provider``, whose keys are born on hosts
    (KEY-02); its answer names the key, and a repeat is no change. ``NotAvailable`` from a host that
    has no such provider.

    Of a VM whose home is under ``key`` already (VTPM-02) its clear disks come under it too.
    ``EncryptionKeyRequired`` if the key is not cached, ``InvalidState`` if encrypted already
    with another key or the host is not safe; no change if encrypted with this key.
    """

    seeks_keys: ClassVar[bool] = True
    vm: VmName
    key: CryptoKeyId | None = None
    provider: ProviderId | None = None


class HostRecryptVm(Command["VmState"], frozen=True, kw_only=True):
    """CryptoSpecShallowRecrypt, or CryptoSpecDeepRecrypt when ``deep``: the VM, which is under the
    keys ``old``, comes under ``key``; None: under one that the host makes of ``provider`` (KEY-02).

    Shallow: its DEKs are wrapped anew, also while it runs (REK-01). Deep: new DEKs, data rewritten,
    VM powered off (REK-02). ``disk``: of that one alone. No change when it is under ``key``, or
    under other keys of that provider, already.
    ``EncryptionKeyRequired`` when an old key or the new one is not cached, ``InvalidPowerState``,
    ``InvalidState`` when it, or the disk, is not encrypted or under keys that are not ``old``.
    """

    seeks_keys: ClassVar[bool] = True
    vm: VmName
    old: tuple[CryptoKeyId, ...]
    provider: ProviderId
    key: CryptoKeyId | None = None
    deep: bool = False
    disk: int | None = None


class HostDecryptVm(Command["VmState"], frozen=True, kw_only=True):
    """CryptoSpecDecrypt: data rewritten in clear, VM powered off (CLN-02). No change without
    encryption; ``EncryptionKeyRequired`` when a key of it is not cached."""

    seeks_keys: ClassVar[bool] = True
    vm: VmName


class HostAddDisk(Command["DisksOfVm"], frozen=True, kw_only=True):
    """A new disk of ``blocks`` blocks, empty, for a VM that is powered off.

    On an encrypted VM it is encrypted: under ``key``, else under one that the host makes of
    ``provider`` (KEY-02), else under the key of the VM's home. ``EncryptionKeyRequired`` when one
    of these, or the home's, is not cached; ``InvalidState``: a key for a VM in clear;
    ``InvalidPowerState``; ``ResourceInUse`` when it has ``DISKS_LIMIT`` disks. No change when the
    operation has made its disk already.
    """

    seeks_keys: ClassVar[bool] = True
    vm: VmName
    operation_id: str
    blocks: int = 64
    key: CryptoKeyId | None = None
    provider: ProviderId | None = None


class HostRemoveDisk(Command["DisksOfVm"], frozen=True, kw_only=True):
    """Take "Hard disk ``disk``" away, with its data; the VM is powered off.

    The home's key is needed, the disk's is not (LOCK-03). ``InvalidState`` of the only disk. No
    change when there is none of that number.
    """

    seeks_keys: ClassVar[bool] = True
    vm: VmName
    disk: int


class DisksOfVm(Reply, frozen=True, kw_only=True):
    """The VM after the command, and all of its disks in their order."""

    summary: VmSummary
    disks: tuple[VirtualDisk, ...]


class HostPowerOnVm(Command["VmState"], frozen=True, kw_only=True):
    """Power on; ``EncryptionKeyRequired`` names the keys no means of this host can find."""

    seeks_keys: ClassVar[bool] = True
    vm: VmName


class HostPowerOffVm(Command["VmState"], frozen=True, kw_only=True):
    """Power off at once, without the guest; that this is wanted is remembered in any case."""

    vm: VmName


class VmState(Reply, frozen=True, kw_only=True):
    """The VM after the command."""

    summary: VmSummary


class GuestWrite(Request["GuestAnswer"], frozen=True, kw_only=True):
    """The guest fills its disk with blocks made from ``marker`` (running VM only)."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName
    marker: bytes


class GuestChallenge(Request["GuestAnswer"], frozen=True, kw_only=True):
    """Read these blocks from the datastore now and digest them with the nonce.

    Then one block is rewritten with its next generation and read back.
    """

    vm: VmName
    nonce: bytes
    blocks: tuple[int, ...]


class GuestAnswer(Reply, frozen=True, kw_only=True):
    """``digest`` = SHA-256 of nonce and each block's content, in the order asked.

    ``rewritten`` is the block whose generation went from ``generation - 1`` to ``generation``.
    ``run``: 8 bytes that stay the same as long as the guest runs, and go along with its memory.
    """

    digest: bytes
    rewritten: int = -1
    generation: int = 0
    run: bytes = b""


class TpmProvisionPolicy(StrEnum):
    """VirtualMachineCloneSpecTpmProvisionPolicy: the virtual TPM of a clone (VTPM-07).

    ``copy``: the same, with its content; ``replace``: a new one, with seeds of its own.
    """

    COPY = "copy"
    REPLACE = "replace"


SNAPSHOTS_LIMIT: Final = 32
"""Snapshots that a VM may have."""


class HostCloneVm(Command[VmState], frozen=True, kw_only=True):
    """Create and register ``vm`` as a full copy of ``source``, whose files are on the datastore.

    A running source continues. The copy has what was written up to one instant, and is in the state
    after a power cut. It is under the keys of its source (CLN-01); with ``recrypt`` under ``key``,
    or under a key that the host makes with ``provider`` (KEY-02), with new DEKs and its data
    rewritten. No change when this host has registered a VM of that name. ``NotFound`` without a
    source, ``DatastoreFault`` while the source runs elsewhere, ``EncryptionKeyRequired`` when a key
    is not cached, ``InvalidState`` when the host is not safe, or to recrypt an unencrypted VM.
    After an error no file is left.
    """

    seeks_keys: ClassVar[bool] = True
    vm: VmName
    source: VmName
    template: bool = False
    recrypt: bool = False
    key: CryptoKeyId | None = None
    provider: ProviderId | None = None
    tpm: TpmProvisionPolicy = TpmProvisionPolicy.COPY


class HostMarkTemplate(Command[VmState], frozen=True, kw_only=True):
    """Make the VM a template, which cannot be powered on, or a VM again. ``InvalidPowerState``
    while it runs."""

    vm: VmName
    template: bool


class HostCreateSnapshot(Command[VmState], frozen=True, kw_only=True):
    """Keep the VM's disks and the state of its virtual TPM as they are now, also while it runs.
    ``memory``: keep the memory of its guest too; a VM that is off has none.

    The snapshot stays under the keys of the VM. ``EncryptionKeyRequired`` without its home's key,
    ``ResourceInUse`` beyond ``SNAPSHOTS_LIMIT``, ``GuestFault`` for the memory of a guest that has
    faulted; no change when there is a snapshot of that name.
    """

    seeks_keys: ClassVar[bool] = True
    vm: VmName
    snapshot: str
    memory: bool = False


class HostRemoveSnapshot(Command[VmState], frozen=True, kw_only=True):
    """Remove a snapshot; the VM is unchanged. No change when there is none of that name."""

    seeks_keys: ClassVar[bool] = True
    vm: VmName
    snapshot: str


class HostRevertToSnapshot(Command[VmState], frozen=True, kw_only=True):
    """Revert the VM to the snapshot; later snapshots stay.

    With memory in the snapshot the VM runs afterwards, and needs everything that a power-on needs;
    ``suppress_power_on``: revert only the disks. Without memory it is off afterwards.
    ``EncryptionKeyRequired`` without its home's key (VTPM-06), ``DatastoreFault`` or ``GuestFault``
    when files of the snapshot are damaged or cannot be copied, ``NotFound``: nothing has changed,
    and a running VM continues. ``SaveFailed``: the VM may be reverted, and off.
    """

    seeks_keys: ClassVar[bool] = True
    vm: VmName
    snapshot: str
    suppress_power_on: bool = False


class StreamKey(msgspec.Struct, frozen=True, kw_only=True):
    """The public part of a stream's key: the 64 bits with which its nonces begin."""

    nonce_base: bytes


class HostPrepareMigration(Command["MigrationPrepared"], frozen=True, kw_only=True):
    """To the target: prepare for the VM to come from ``source``. The target finds the VM's keys,
    registers the VM (saved before the reply), and waits for its memory.

    ``material``: the key of the stream. None, as is ``stream``: memory comes in clear (MOB-02).
    ``EncryptionKeyRequired`` when the host does not have a key of the VM; ``InvalidState`` when it
    is not safe, is in maintenance mode, or the VM runs there.
    """

    seeks_keys: ClassVar[bool] = True
    vm: VmName
    migration: str
    source: NodeName
    stream: StreamKey | None = None
    material: Sealed | None = None


class MigrationPrepared(Reply, frozen=True, kw_only=True):
    """The VM as the target has it: registered, and not running."""

    summary: VmSummary


class HostMigrateVm(Command["VmMigrated"], frozen=True, kw_only=True):
    """To the source: send the VM's memory to ``target``, stop the VM here, and have it continue
    there.

    A migration runs once: a repeat returns its result. After a refusal the VM continues here.
    """

    vm: VmName
    migration: str
    target: NodeName
    stream: StreamKey | None = None
    material: Sealed | None = None


class VmMigrated(Reply, frozen=True, kw_only=True):
    """The VM runs on the target and is not registered on the source any more.

    ``gap_s``: lab seconds in which the guest stood still. ``size``: bytes of memory that were sent.
    """

    gap_s: float
    size: int


class HostEndMigration(Command["MigrationEnded"], frozen=True, kw_only=True):
    """To the target: does the VM run here? If not, the migration is cancelled."""

    vm: VmName
    migration: str


class MigrationEnded(Reply, frozen=True, kw_only=True):
    """The VM as this host has it now; None when it is not registered here."""

    summary: VmSummary | None = None


class SendMemory(Request["MemoryTaken"], frozen=True, kw_only=True):
    """From the source to the target: part ``number`` of the stream, from 0.

    ``last``: the last part. Sending the same part again changes nothing.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName
    migration: str
    number: int
    data: bytes
    last: bool = False


class MemoryTaken(Reply, frozen=True, kw_only=True):
    """The part was decrypted; after the last part, the memory was complete and valid."""


class SwitchOver(Request["SwitchedOver"], frozen=True, kw_only=True):
    """From the source, which has released the VM's lock: run the VM.

    After an error the VM does not run here, unless only the answer was lost; the next holder of the
    lock sees in the VM's configuration which host has it.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName
    migration: str


class SwitchedOver(Reply, frozen=True, kw_only=True):
    """The guest continues here."""


class CheckRelocate(Request["RelocateChecked"], frozen=True, kw_only=True):
    """CheckRelocate_Task (VirtualMachineProvisioningChecker): could this host run the VM, whose
    files are on ``datastore``? It registers nothing.

    The host looks for keys by every means of its own, and they must open the VM.
    ``InvalidArgument``: this host has another datastore. ``NotFound``: no files.
    ``EncryptionKeyRequired``: keys are missing, or do not open the VM. ``InvalidState``: they are
    not ``keys``, or this host takes no VMs. An empty ``datastore`` asks the source for its name;
    it refuses with ``InvalidState`` a VM that is off there and locked by another host.
    """

    repeat: ClassVar[Repeat] = Repeat.READ
    vm: VmName
    datastore: str = ""
    keys: tuple[CryptoKeyId, ...] = ()


class RelocateChecked(Reply, frozen=True, kw_only=True):
    """The name of this host's datastore; if a VM was named, this host can run it."""

    datastore: str


class HostAddVtpm(Command[VmState], frozen=True, kw_only=True):
    """Add a vTPM to a powered-off VM (VTPM-02): its home is encrypted, its disks stay as they are.

    ``key`` and ``provider`` as in ``ReconfigureVm``, of a VM whose home is not encrypted yet; of
    one that is, neither is looked at. No change when it has a vTPM. ``InvalidPowerState`` while it
    runs, ``InvalidArgument`` of a VM without EFI or with too old a hardware version.
    """

    seeks_keys: ClassVar[bool] = True
    vm: VmName
    key: CryptoKeyId | None = None
    provider: ProviderId | None = None


class QueryVmConfig(Request["VmConfigState"], frozen=True, kw_only=True):
    """What the files of a registered VM say of it now; ``DatastoreFault`` when they cannot be
    read."""

    vm: VmName


class VmConfigState(Reply, frozen=True, kw_only=True):
    """``firmware`` is ``efi`` or ``bios``; ``hardware`` the virtual hardware version. ``ek`` and
    ``certificate`` (DER) of its vTPM, empty without."""

    firmware: str
    hardware: int
    home_encrypted: bool
    disks: tuple[VirtualDisk, ...]
    vtpm: bool
    ek: bytes = b""
    certificate: bytes = b""

    @property
    def disks_encrypted(self) -> bool:
        """One of them is at least."""
        return any(disk.key is not None for disk in self.disks)

    @property
    def disks_in_clear(self) -> bool:
        """One of them is at least."""
        return any(disk.key is None for disk in self.disks)


class HostSetVtpmCertificate(Command[Done], frozen=True, kw_only=True):
    """The certificate (DER) of the vTPM's endorsement key, kept with the device (VTPM-04)."""

    vm: VmName
    certificate: bytes


class HostRemoveVtpm(Command[VmState], frozen=True, kw_only=True):
    """Remove the vTPM and destroy what is in it (VTPM-03); no change when there is none.

    The home is decrypted unless a disk is encrypted. ``EncryptionKeyRequired`` without the home's
    key.
    """

    seeks_keys: ClassVar[bool] = True
    vm: VmName


class GuestTpmSeal(Request["GuestTpmSealed"], frozen=True, kw_only=True):
    """The guest seals the secret of ``marker`` (``protocol.guest_tpm.secret_of``) in its vTPM, in
    place of what it has sealed before.

    ``NotFound`` when the VM has no vTPM.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vm: VmName
    marker: bytes


class GuestTpmSealed(Reply, frozen=True, kw_only=True):
    """Sealed, and the state of the vTPM is durable. ``ak``, ``ek``: public areas of its attestation
    and endorsement keys; ``certificate`` of the latter (DER), empty when it has none."""

    ak: bytes
    ek: bytes
    certificate: bytes
    counter: int


class GuestTpmChallenge(Request["GuestTpmAnswered"], frozen=True, kw_only=True):
    """The guest unseals in a new session, counts, measures the nonce, and quotes: it answers when
    the state of its vTPM after that is durable. ``NotFound`` when the VM has no vTPM."""

    vm: VmName
    nonce: bytes


class GuestTpmAnswered(Reply, frozen=True, kw_only=True):
    """See ``protocol.guest_tpm`` for what a right answer is."""

    answer: TpmAnswer
