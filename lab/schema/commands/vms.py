"""Commands on VMs: tasks of vCenter, like a vSphere client, or on a host, like its local
administrator; clones, templates and snapshots; migration between hosts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from lab.schema.commands.base import Command, Look, VmName, check_names, doc, wrong
from lab.schema.tables import ColumnTable, field
from protocol import names
from protocol.terms import MigrateEncryption

if TYPE_CHECKING:
    from lab.schema.answers import GuestAnswer, Migration, Vm, VmDisks, VmList, VmPowerList


ProviderOption = Annotated[str, doc("Key provider. Default: the default provider.")]
OnHost = Annotated[
    bool, doc("Act on the host itself, as its administrator, without vCenter; needs --host.")
]


class GetVms(Look["VmList"], frozen=True, tag="get.vms"):
    """VMs in vCenter's view: power, locked or not, missing keys [LOCK-01].

    keystead get vms
    keystead get vms vm-01 vm-02 -o json
    keystead get vms -w --sort-by host
    """


class VmCreate(Command["Vm"], frozen=True, tag="vm.create"):
    """Create a VM, powered off.

    keystead vm create vm-07 --encrypted
    keystead vm create vm-08 --host esxi-002

    A virtual TPM needs ``firmware`` efi and ``hardware`` 14 or later.
    """

    vm: str
    cluster: Annotated[
        str, doc("Cluster. Default: the cluster of the host, else the first one.")
    ] = ""
    host: Annotated[str, doc("Host. Default: the emptiest host of the cluster.")] = ""
    encrypted: Annotated[bool, doc("Create it encrypted, under a new key.")] = False
    provider: ProviderOption = ""
    firmware: Annotated[str, doc("efi or bios; a virtual TPM needs efi.")] = "efi"
    hardware: Annotated[int, doc("Virtual hardware version.")] = 21

    def __post_init__(self) -> None:
        if not self.vm:
            raise wrong("the name of the VM is empty")
        check_names(names.VM, self.vm)
        check_names(names.CLUSTER, self.cluster)
        check_names(names.NODE, self.host)
        check_names(names.PROVIDER, self.provider)


class VmEncrypt(Command["Vm"], frozen=True, tag="vm.encrypt"):
    """Encrypt a powered-off VM under a new key.

    keystead vm encrypt vm-08
    keystead vm encrypt vm-08 --provider kms-provider

    The host becomes safe if the user has the privilege to register hosts [HEM-02].
    """

    vm: VmName
    provider: ProviderOption = ""


class VmRecrypt(Command["Vm"], frozen=True, tag="vm.recrypt"):
    """Recrypt an encrypted VM under a new key; it may run [REK-01].

    keystead vm recrypt vm-01
    keystead vm recrypt vm-01 --disk 2 --provider second-provider

    Shallow recrypt wraps the VM's DEKs under a new KEK, also one of another key provider. With
    ``deep`` the DEKs are new too [REK-02].
    """

    vm: VmName
    provider: ProviderOption = ""
    deep: Annotated[
        bool, doc("Deep recrypt: new DEKs, data rewritten; the VM must be powered off.")
    ] = False
    disk: Annotated[int | None, doc("Only this hard disk. Default: all [KEY-04].")] = None


class VmDecrypt(Command["Vm"], frozen=True, tag="vm.decrypt"):
    """Decrypt a powered-off VM [CLN-02].

    keystead vm decrypt vm-01
    keystead vm decrypt vm-01 -o json
    """

    vm: VmName


class VmAddDisk(Command["VmDisks"], frozen=True, tag="vm.add-disk"):
    """Add a disk to a powered-off VM; a disk of an encrypted VM is encrypted.

    keystead vm add-disk vm-01
    keystead vm add-disk vm-01 --provider kms-provider

    The disk uses the VM's key; with ``provider`` or ``own_key`` it gets a new key of its own
    [KEY-04].
    """

    vm: VmName
    blocks: Annotated[int, doc("Size in blocks of 4,096 bytes.")] = 64
    provider: Annotated[str, doc("Encrypt the disk with its own key of this key provider.")] = ""
    own_key: Annotated[bool, doc("Encrypt the disk with its own key of the default provider.")] = (
        False
    )

    def __post_init__(self) -> None:
        check_names(names.PROVIDER, self.provider)


class VmRemoveDisk(Command["VmDisks"], frozen=True, tag="vm.remove-disk"):
    """Remove a disk and its data from a powered-off VM: vm-01 2 is "Hard disk 2".

    keystead vm remove-disk vm-01 2
    keystead vm remove-disk vm-01 2 -o json

    The key of the disk is not needed [LOCK-03].
    """

    vm: VmName
    disk: int


class VmAddTpm(Command["Vm"], frozen=True, tag="vm.add-tpm"):
    """Add a virtual TPM to a powered-off VM; encrypts the VM's home, not its disks.

    keystead vm add-tpm vm-08
    keystead vm add-tpm vm-08 --provider kms-provider

    The VM must have EFI firmware and hardware version 14 or later [VTPM-02].
    """

    vm: VmName
    provider: ProviderOption = ""


class VmRemoveTpm(Command["Vm"], frozen=True, tag="vm.remove-tpm"):
    """Remove the virtual TPM of a powered-off VM; its content is lost.

    keystead vm remove-tpm vm-08
    keystead vm remove-tpm vm-08 -o json

    The VM's home is decrypted unless a disk is encrypted [VTPM-03].
    """

    vm: VmName


class _Power(Command["VmPowerList"], frozen=True):
    vms: Annotated[
        tuple[str, ...],
        doc(
            "Names or selectors: vm-[01-04], all. Default: all VMs of --host.",
            word=True,
            completes="vm",
        ),
    ] = ()
    host: Annotated[str, doc("All VMs of this host.")] = ""
    on_host: OnHost = False

    def __post_init__(self) -> None:
        if not self.vms and not self.host:
            raise wrong("name VMs, or a host with --host")
        if self.on_host and not self.host:
            raise wrong("--on-host needs --host, since vCenter takes no part")


class VmOn(_Power, frozen=True, tag="vm.on"):
    """Power VMs on.

    keystead vm on vm-01 vm-02
    keystead vm on --host esxi-001

    If one VM is refused, the others are still powered on. Automated DRS chooses the hosts [HA-03].
    ``on_host`` also works while vCenter is down.
    """


class VmOff(_Power, frozen=True, tag="vm.off"):
    """Power VMs off.

    keystead vm off vm-01
    keystead vm off vm-01 --host esxi-001 --on-host

    If one VM is refused, the others are still powered off.
    """


class VmUnlock(Command["Vm"], frozen=True, tag="vm.unlock"):
    """Unlock a VM (CryptoUnlock_Task): vCenter pushes its keys to the host now [LOCK-05].

    keystead vm unlock vm-01
    keystead vm unlock vm-01 -o json

    Refused (KS-PRODUCT-001) while the cause of the lock persists.
    """

    vm: VmName


class VmGuestWrite(Command["GuestAnswer"], frozen=True, tag="vm.guest.write"):
    """Make the guest fill its disk with blocks derived from ``marker``."""

    words = ""
    vm: str
    marker: bytes


class VmGuestChallenge(Command["GuestAnswer"], frozen=True, tag="vm.guest.challenge"):
    """Make the guest read, check and rewrite ``blocks``, and answer ``nonce`` from its disk."""

    words = ""
    vm: str
    nonce: bytes
    blocks: tuple[int, ...] = ()


TpmPolicy = Literal["", "copy", "replace"]


class VmClone(Command["Vm"], frozen=True, tag="vm.clone"):
    """Clone a VM or a template; the clone is powered off and uses the same keys.

    keystead vm clone vm-01 vm-01-copy
    keystead vm clone vm-01 vm-01-copy --recrypt --tpm replace

    CloneVM_Task, a full clone [CLN-01]. The source VM may run.
    """

    vm: VmName
    clone: str
    host: Annotated[
        str,
        doc("Host in the same cluster. Default: the host of a running source, else the emptiest."),
    ] = ""
    recrypt: Annotated[bool, doc("Encrypt the clone with a new KEK and new DEKs.")] = False
    provider: Annotated[str, doc("Key provider for --recrypt. Default: the default provider.")] = ""
    tpm: Annotated[
        TpmPolicy,
        doc("Virtual TPM of the clone: a copy or a new one. Default: vCenter's knob [VTPM-07]."),
    ] = ""
    template: Annotated[bool, doc("Make the clone a template.")] = False

    def __post_init__(self) -> None:
        if not self.vm or not self.clone:
            raise wrong("name the VM to clone, and the clone")
        check_names(names.VM, self.vm, self.clone)
        check_names(names.NODE, self.host)
        check_names(names.PROVIDER, self.provider)


class VmTemplate(Command["Vm"], frozen=True, tag="vm.template"):
    """Convert a powered-off VM to a template (MarkAsTemplate), or back with --off.

    keystead vm template vm-01
    keystead vm template vm-01 --off

    A template can be cloned, but not powered on.
    """

    vm: VmName
    off: Annotated[bool, doc("Convert the template back to a VM.")] = False


class _Snapshot(Command["Vm"], frozen=True):
    table = ColumnTable(
        "vm",
        (field("vm"), field("host"), field("power"), ("SNAPSHOTS", lambda vm: vm.list_snapshots())),
    )
    vm: VmName
    snapshot: Annotated[str, doc("Name of the snapshot, unique for its VM.")]

    def __post_init__(self) -> None:
        if not self.snapshot:
            raise wrong("the name of the snapshot is empty")
        check_names(names.SNAPSHOT, self.snapshot)


class VmSnapshotCreate(_Snapshot, frozen=True, tag="vm.snapshot.create"):
    """Take a snapshot of a VM's disks and virtual TPM (CreateSnapshot_Task).

    keystead vm snapshot create vm-01 before
    keystead vm snapshot create vm-01 running --memory

    The VM may run. A VM with a snapshot cannot be encrypted, decrypted or deep recrypted
    [REK-02, CLN-02].
    """

    memory: Annotated[bool, doc("Include the memory of a running VM.", negated=True)] = False


class VmSnapshotRemove(_Snapshot, frozen=True, tag="vm.snapshot.remove"):
    """Delete a snapshot (RemoveSnapshot_Task); the VM does not change.

    keystead vm snapshot remove vm-01 before
    keystead vm snapshot remove vm-01 before -o json
    """


class VmSnapshotRevert(_Snapshot, frozen=True, tag="vm.snapshot.revert"):
    """Revert a VM to a snapshot (RevertToSnapshot_Task).

    keystead vm snapshot revert vm-01 before
    keystead vm snapshot revert vm-01 running --suppress-power-on

    The VM is powered off afterwards; it runs if the snapshot includes its memory. The key of the
    VM's home must be available [VTPM-06]; a VM that runs afterwards needs all its keys.
    """

    suppress_power_on: Annotated[
        bool, doc("Leave the VM powered off, even if the snapshot includes its memory.")
    ] = False


class VmMigrate(Command["Migration"], frozen=True, tag="vm.migrate"):
    """Migrate a VM to another host: by vMotion if it runs, else by registering it there.

    keystead vm migrate vm-01 --host esxi-002
    keystead vm migrate vm-01 --host esxi-003 --to-vcenter vcenter-b
    keystead vm migrate vm-01 --host esxi-002 -o json

    MigrateVM_Task, or RelocateVM_Task with ``to_vcenter``. The other vCenter must have a key
    provider of the same name with the same keys [MOB-07]. If the migration is refused, the VM keeps
    running on its host and is not locked [MOB-05].
    """

    vm: VmName
    host: Annotated[
        str, doc("Destination host; in the same cluster without --to-vcenter.", name="--host")
    ]
    to_vcenter: Annotated[str, doc("vCenter of the destination host, if another one.")] = ""
    to_user: Annotated[
        str, doc("User at the other vCenter. Default: the user of this command.")
    ] = ""

    def __post_init__(self) -> None:
        if not self.vm or not self.host:
            raise wrong("name a VM and a destination host")
        check_names(names.VM, self.vm)
        check_names(names.NODE, self.host)
        if self.to_vcenter:
            check_names(names.NODE, self.to_vcenter)
        if self.to_user:
            check_names(names.PRINCIPAL, self.to_user)
            if not self.to_vcenter:
                raise wrong("--to-user needs --to-vcenter")


class VmSetMigrateEncryption(Command["Vm"], frozen=True, tag="vm.set-migrate-encryption"):
    """Set encrypted vMotion of an unencrypted VM: disabled, opportunistic or required.

    keystead vm set-migrate-encryption vm-08 disabled
    keystead vm set-migrate-encryption vm-08 required -o json

    ReconfigVM_Task, migrateEncryption. vMotion of an encrypted VM is always encrypted [MOB-02].
    """

    vm: VmName
    policy: MigrateEncryption
