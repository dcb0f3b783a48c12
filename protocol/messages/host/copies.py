"""Copies of VMs at their host: clones, templates, snapshots. A VM that runs can be cloned, have a
snapshot taken, and revert to one that has its memory."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Final

from protocol.messages.host.session import Command
from protocol.messages.host.vms import VmState
from protocol.terms import CryptoKeyId, ProviderId, VmName


class TpmProvisionPolicy(StrEnum):
    """VirtualMachineCloneSpecTpmProvisionPolicy: what a clone has for a virtual TPM (VTPM-07).

    ``copy``: the same, with all that is in it; ``replace``: a new one, with seeds of its own.
    """

    COPY = "copy"
    REPLACE = "replace"


SNAPSHOTS_LIMIT: Final = 32
"""Snapshots that a VM may have."""


class HostCloneVm(Command[VmState], frozen=True, kw_only=True):
    """Make and register ``vm`` as a whole copy of ``source``, whose files lie on the datastore.

    A source that runs here goes on; the copy has what was written up to one instant, and is as
    after a power cut of its machine. It is under the keys of its source (CLN-01); with ``recrypt``
    under ``key``, or one that the host makes of ``provider`` (KEY-02), with new DEKs and its data
    rewritten. No change when this host has registered one of that name. ``NotFound`` without a
    source, ``DatastoreFault`` while that runs elsewhere, ``EncryptionKeyRequired`` when a key is
    not cached, ``InvalidState`` when the host is not safe, or to recrypt a VM in clear. What fails
    leaves no file.
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
    """The VM is a template, which is not powered on, or none any more. ``InvalidPowerState`` while
    it runs."""

    vm: VmName
    template: bool


class HostCreateSnapshot(Command[VmState], frozen=True, kw_only=True):
    """Keep the VM's disks, and the state of its virtual TPM, as they are now, also while it runs;
    with ``memory`` that of its guest too, of which a VM that is off has none.

    They stay under the keys of the VM. ``EncryptionKeyRequired`` without its home's key,
    ``ResourceInUse`` beyond ``SNAPSHOTS_LIMIT``, ``GuestFault`` for the memory of a guest that has
    faulted; no change when there is one of that name.
    """

    seeks_keys: ClassVar[bool] = True
    vm: VmName
    snapshot: str
    memory: bool = False


class HostRemoveSnapshot(Command[VmState], frozen=True, kw_only=True):
    """Forget a snapshot; the VM stays as it is. No change when there is none of that name."""

    seeks_keys: ClassVar[bool] = True
    vm: VmName
    snapshot: str


class HostRevertToSnapshot(Command[VmState], frozen=True, kw_only=True):
    """The VM is as it was when the snapshot was taken; later snapshots stay.

    With the memory in the snapshot it runs then, whether it ran before or not, and needs all that
    a power-on needs; ``suppress_power_on``: the disks alone. Without memory it is off, whether it
    ran before or not. ``EncryptionKeyRequired`` without its home's key (VTPM-06),
    ``DatastoreFault`` or ``GuestFault`` when files of the snapshot are damaged or cannot be copied,
    ``NotFound``: nothing has changed then, and a VM that runs goes on. ``SaveFailed``: it may be
    reverted, and off.
    """

    seeks_keys: ClassVar[bool] = True
    vm: VmName
    snapshot: str
    suppress_power_on: bool = False
