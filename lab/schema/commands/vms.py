"""VM tasks, asked of vCenter as a vSphere client would, or of a host as its administrator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.schema.commands.base import Command, check_names, wrong
from protocol import names

if TYPE_CHECKING:
    from lab.schema.answers import GuestAnswer, Vm, VmDisks, VmPowerList


class VmCreate(Command["Vm"], frozen=True, tag="vm.create"):
    """Create a VM, powered off.

    ``cluster`` empty: that of ``host``, else the first; ``host`` empty: the emptiest of the
    cluster. ``encrypted``: under a new key of ``provider`` (empty: the default one) at once.
    ``firmware``: ``efi`` or ``bios``; ``hardware``: the virtual
    hardware version; both decide whether it may have a virtual TPM.
    """

    vm: str
    cluster: str = ""
    host: str = ""
    encrypted: bool = False
    provider: str = ""
    firmware: str = "efi"
    hardware: int = 21

    def __post_init__(self) -> None:
        if not self.vm:
            raise wrong("a VM has a name")
        check_names(names.VM, self.vm)
        check_names(names.CLUSTER, self.cluster)
        check_names(names.NODE, self.host)
        check_names(names.PROVIDER, self.provider)


class VmEncrypt(Command["Vm"], frozen=True, tag="vm.encrypt"):
    """Encrypt a powered-off VM under a new key of ``provider`` (empty: the default one).

    Hosts are made safe by it if the user may register hosts [HEM-02].
    """

    vm: str
    provider: str = ""


class VmRecrypt(Command["Vm"], frozen=True, tag="vm.recrypt"):
    """Put an encrypted VM under a new key of ``provider`` (empty: the default one) [REK-01].

    Its data keys are wrapped anew, also while it runs. ``deep``: new data keys too, and its data
    rewritten, while it is powered off [REK-02]. ``disk``: of "Hard disk ``disk``" alone [KEY-04].
    """

    vm: str
    provider: str = ""
    deep: bool = False
    disk: int | None = None


class VmDecrypt(Command["Vm"], frozen=True, tag="vm.decrypt"):
    """Take the encryption off a VM that is powered off [CLN-02]."""

    vm: str


class VmAddDisk(Command["VmDisks"], frozen=True, tag="vm.add-disk"):
    """A new disk of ``blocks`` blocks of 4,096 bytes for a VM that is powered off.

    On an encrypted VM it is under the VM's key; with ``provider`` or ``own_key`` under a new one of
    its own, of ``provider`` (empty: the default one) [KEY-04].
    """

    vm: str
    blocks: int = 64
    provider: str = ""
    own_key: bool = False

    def __post_init__(self) -> None:
        check_names(names.PROVIDER, self.provider)


class VmRemoveDisk(Command["VmDisks"], frozen=True, tag="vm.remove-disk"):
    """Take "Hard disk ``disk``" and its data away from a VM that is powered off [LOCK-03]."""

    vm: str
    disk: int


class VmAddTpm(Command["Vm"], frozen=True, tag="vm.add-tpm"):
    """Add a virtual TPM to a powered-off VM with firmware EFI and hardware version 14 or later.

    Its home is encrypted under a new key of ``provider`` (empty: the default one), unless it is
    already; its disks stay as they are [VTPM-02].
    """

    vm: str
    provider: str = ""


class VmRemoveTpm(Command["Vm"], frozen=True, tag="vm.remove-tpm"):
    """Remove the virtual TPM of a powered-off VM: what is in it is destroyed, and the home is
    decrypted unless a disk is encrypted [VTPM-03]."""

    vm: str


class _Power(Command["VmPowerList"], frozen=True):
    """``vms`` are names or selectors (``vm-[01-04]``, ``all``), empty: all of ``host``."""

    vms: tuple[str, ...] = ()
    host: str = ""
    on_host: bool = False

    def __post_init__(self) -> None:
        if not self.vms and not self.host:
            raise wrong("name VMs, or a host with --host")
        if self.on_host and not self.host:
            raise wrong("--on-host needs --host: vCenter is not asked")


class VmOn(_Power, frozen=True, tag="vm.on"):
    """Power VMs on, by name or selector (``vm-[01-04]``, ``all``), or all of ``host``.

    DRS, where it is automated, chooses where they start [HA-03].
    One that is refused does not keep the others from being asked. ``on_host``: ask ``host``
    itself, as its administrator, which works while vCenter is down.
    """


class VmOff(_Power, frozen=True, tag="vm.off"):
    """Power VMs off; the fields are those of ``VmOn``."""


class VmUnlock(Command["Vm"], frozen=True, tag="vm.unlock"):
    """CryptoUnlock_Task: let vCenter bring the keys of a locked VM now [LOCK-05].

    KS-PRODUCT-001 while what locked it is still there.
    """

    vm: str


class VmGuestWrite(Command["GuestAnswer"], frozen=True, tag="vm.guest.write"):
    """Let the guest fill its disk with blocks made from ``marker``."""

    vm: str
    marker: bytes


class VmGuestChallenge(Command["GuestAnswer"], frozen=True, tag="vm.guest.challenge"):
    """Let the guest read, check and rewrite ``blocks``, and answer for ``nonce`` from its disk."""

    vm: str
    nonce: bytes
    blocks: tuple[int, ...] = ()
