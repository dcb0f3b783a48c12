"""VM tasks, asked of vCenter as a vSphere client would, or of a host as its administrator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from lab.schema.commands.arguments import VmName, doc
from lab.schema.commands.base import Command, Look, check_names, wrong
from protocol import names

if TYPE_CHECKING:
    from lab.schema.answers import GuestAnswer, Vm, VmDisks, VmList, VmPowerList

ProviderOption = Annotated[str, doc("Key provider; the default when left out.")]
OnHost = Annotated[bool, doc("Ask the host itself, as its administrator (with --host).")]


class GetVms(Look["VmList"], frozen=True, tag="get.vms"):
    """VMs as vCenter sees them: power, locked or not, keys that are missing [LOCK-01].

    keystead get vms
    keystead get vms vm-01 vm-02 -o json
    keystead get vms -w --sort-by host
    """


class VmCreate(Command["Vm"], frozen=True, tag="vm.create"):
    """Create a VM, powered off.

    keystead vm create vm-07 --encrypted
    keystead vm create vm-08 --host esxi-002

    ``firmware`` and ``hardware`` decide whether it may have a virtual TPM.
    """

    vm: str
    cluster: Annotated[str, doc("Cluster; that of the host, else the first.")] = ""
    host: Annotated[str, doc("Host; the emptiest of the cluster when left out.")] = ""
    encrypted: Annotated[bool, doc("Encrypt it at once, under a new key.")] = False
    provider: ProviderOption = ""
    firmware: Annotated[str, doc("efi, or bios: then without virtual TPM.")] = "efi"
    hardware: Annotated[int, doc("Virtual hardware version.")] = 21

    def __post_init__(self) -> None:
        if not self.vm:
            raise wrong("a VM has a name")
        check_names(names.VM, self.vm)
        check_names(names.CLUSTER, self.cluster)
        check_names(names.NODE, self.host)
        check_names(names.PROVIDER, self.provider)


class VmEncrypt(Command["Vm"], frozen=True, tag="vm.encrypt"):
    """Encrypt a powered-off VM under a new key.

    keystead vm encrypt vm-08
    keystead vm encrypt vm-08 --provider kms-provider

    Its hosts become safe by it if the user may register hosts [HEM-02].
    """

    vm: VmName
    provider: ProviderOption = ""


class VmRecrypt(Command["Vm"], frozen=True, tag="vm.recrypt"):
    """Put an encrypted VM under a new key, also while it runs, also of another provider [REK-01].

    keystead vm recrypt vm-01
    keystead vm recrypt vm-01 --disk 2 --provider second-provider

    Its data keys are wrapped anew; with ``deep`` they are new too [REK-02].
    """

    vm: VmName
    provider: ProviderOption = ""
    deep: Annotated[bool, doc("New data keys too: powered off, data rewritten.")] = False
    disk: Annotated[int | None, doc("Of this hard disk alone; all when left out [KEY-04].")] = None


class VmDecrypt(Command["Vm"], frozen=True, tag="vm.decrypt"):
    """Take the encryption off a VM that is powered off [CLN-02].

    keystead vm decrypt vm-01
    keystead vm decrypt vm-01 -o json
    """

    vm: VmName


class VmAddDisk(Command["VmDisks"], frozen=True, tag="vm.add-disk"):
    """Add a disk to a VM that is powered off; on an encrypted VM it is encrypted.

    keystead vm add-disk vm-01
    keystead vm add-disk vm-01 --provider kms-provider

    It is under the VM's key; with ``provider`` or ``own_key`` under a new one of its own [KEY-04].
    """

    vm: VmName
    blocks: Annotated[int, doc("Its size, in blocks of 4,096 bytes.")] = 64
    provider: Annotated[str, doc("A key of its own, of this key provider.")] = ""
    own_key: Annotated[bool, doc("A new key of its own, of the default provider.")] = False

    def __post_init__(self) -> None:
        check_names(names.PROVIDER, self.provider)


class VmRemoveDisk(Command["VmDisks"], frozen=True, tag="vm.remove-disk"):
    """Take a disk away with its data: vm-01 2 is "Hard disk 2". A lost key of it does not matter.

    keystead vm remove-disk vm-01 2
    keystead vm remove-disk vm-01 2 -o json

    The VM is powered off [LOCK-03].
    """

    vm: VmName
    disk: int


class VmAddTpm(Command["Vm"], frozen=True, tag="vm.add-tpm"):
    """Add a virtual TPM to a powered-off VM; its home is encrypted, its disks are not.

    keystead vm add-tpm vm-08
    keystead vm add-tpm vm-08 --provider kms-provider

    The VM has firmware EFI, and hardware version 14 or later [VTPM-02].
    """

    vm: VmName
    provider: ProviderOption = ""


class VmRemoveTpm(Command["Vm"], frozen=True, tag="vm.remove-tpm"):
    """Remove the virtual TPM of a powered-off VM, and destroy what is in it.

    keystead vm remove-tpm vm-08
    keystead vm remove-tpm vm-08 -o json

    Its home is decrypted unless a disk is encrypted [VTPM-03].
    """

    vm: VmName


class _Power(Command["VmPowerList"], frozen=True):
    vms: Annotated[
        tuple[str, ...],
        doc(
            "Names or selectors: vm-[01-04], all. Left out: all of the host.",
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
            raise wrong("--on-host needs --host: vCenter is not asked")


class VmOn(_Power, frozen=True, tag="vm.on"):
    """Power VMs on.

    keystead vm on vm-01 vm-02
    keystead vm on --host esxi-001

    A VM that is refused does not keep the others from being asked. DRS, where it is automated,
    chooses where they start [HA-03]. With ``on_host`` it works while vCenter is down.
    """


class VmOff(_Power, frozen=True, tag="vm.off"):
    """Power VMs off.

    keystead vm off vm-01
    keystead vm off vm-01 --host esxi-001 --on-host

    A VM that is refused does not keep the others from being asked.
    """


class VmUnlock(Command["Vm"], frozen=True, tag="vm.unlock"):
    """CryptoUnlock_Task: let vCenter bring the keys of a locked VM now [LOCK-05].

    keystead vm unlock vm-01
    keystead vm unlock vm-01 -o json

    It is refused (KS-PRODUCT-001) while what locked the VM is still there.
    """

    vm: VmName


class VmGuestWrite(Command["GuestAnswer"], frozen=True, tag="vm.guest.write"):
    """Let the guest fill its disk with blocks made from ``marker``."""

    words = ""
    vm: str
    marker: bytes


class VmGuestChallenge(Command["GuestAnswer"], frozen=True, tag="vm.guest.challenge"):
    """Let the guest read, check and rewrite ``blocks``, and answer for ``nonce`` from its disk."""

    words = ""
    vm: str
    nonce: bytes
    blocks: tuple[int, ...] = ()
