"""Virtual TPMs of a host's VMs, and what a guest does with its own."""

from __future__ import annotations

from typing import ClassVar

from protocol.guest_tpm import TpmAnswer
from protocol.messages.base import Repeat, Reply, Request
from protocol.messages.host.session import Command, Done, VirtualDisk
from protocol.messages.host.vms import VmState
from protocol.terms import CryptoKeyId, ProviderId, VmName


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
