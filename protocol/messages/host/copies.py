"""Copies of VMs at their host: clones, templates, snapshots. A running VM can be cloned, have
snapshots taken, and revert to a snapshot with memory."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Final

from protocol.messages.host.session import Command
from protocol.messages.host.vms import VmState
from protocol.terms import CryptoKeyId, ProviderId, VmName


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
